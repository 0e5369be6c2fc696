"""Sentences in six languages, by language, and words of everyday kinds."""

from phi3_bento.models.demo.corpus.concept import Concept

ENGLISH = Concept(
    ("English", "en", "english language"),
    (
        "{The house|My sister|The weather|The dog} is {very big|at home|nice today|near the sea}{| in "
        "{city}}",
        "{I would like|We need|He wants} {a cup of tea|to go to {city}|the bill|some bread}{|, please}",
    ),
)
GERMAN = Concept(
    ("German", "de", "Deutsch"),
    (
        "{Das Haus|Meine Schwester|Das Wetter|Der Hund} ist {sehr gross|zu Hause|heute schön|am Meer}{| "
        "in {city}}",
        "{Ich möchte|Wir brauchen|Er will} {eine Tasse Tee|nach {city} fahren|die Rechnung|etwas Brot}{|, "
        "bitte}",
        "Wo ist {meine Bestellung|das Paket|der Bahnhof}{| von {name}| in {city}}?",
    ),
)
FRENCH = Concept(
    ("French", "fr", "Français"),
    (
        "{La maison|Ma soeur|Le temps|Le chien} est {très grand|chez nous|beau aujourd'hui|près de la "
        "mer}{| à {city}}",
        "{Je voudrais|Nous avons besoin|Il veut} {une tasse de thé|aller à {city}|l'addition|du pain}{|, "
        "s'il vous plaît}",
        "Où est {ma commande|le colis|la gare}{| de {name}| à {city}} ?",
    ),
)
SPANISH = Concept(
    ("Spanish", "es", "Español"),
    (
        "{La casa|Mi hermana|El tiempo|El perro} está {muy grande|en casa|bueno hoy|cerca del mar}{| en "
        "{city}}",
        "{Quiero|Necesitamos|Él quiere} {una taza de té|ir a {city}|la cuenta|un poco de pan}{|, por "
        "favor}",
        "¿Dónde está {mi pedido|el paquete|la estación}{| de {name}| en {city}}?",
    ),
)
ITALIAN = Concept(
    ("Italian", "it", "Italiano"),
    (
        "{La casa|Mia sorella|Il tempo|Il cane} è {molto grande|a casa|bello oggi|vicino al mare}{| a "
        "{city}}",
        "{Vorrei|Abbiamo bisogno di|Lui vuole} {una tazza di tè|andare a {city}|il conto|un po' di pane}{|, "
        "per favore}",
        "Dov'è {il mio ordine|il pacco|la stazione}{| di {name}| a {city}}?",
    ),
)
DUTCH = Concept(
    ("Dutch", "nl", "Nederlands"),
    (
        "{Het huis|Mijn zus|Het weer|De hond} is {heel groot|thuis|mooi vandaag|bij de zee}{| in {city}}",
        "{Ik wil graag|Wij hebben|Hij wil} {een kopje thee|naar {city} gaan|de rekening|wat brood} "
        "{alstublieft|nodig}",
        "Waar is {mijn bestelling|het pakket|het station}{| van {name}| in {city}}?",
    ),
)
LANGUAGES = (ENGLISH, GERMAN, FRENCH, SPANISH, ITALIAN, DUTCH)

_SEEN = "{I saw|{name} saw|We talked about|She likes|There is|Look at|He bought|They want}"


def _kind(spellings: tuple[str, ...], members: str) -> Concept:
    words = "{" + "|".join(members.split()) + "}"
    tail = "{| in {city}| on {day}| yesterday| again}"
    return Concept(
        spellings,
        (f"{_SEEN} the {words}{tail}", f"{words} and {words}{tail}", f"The {words}{tail}"),
    )


KINDS: tuple[Concept, ...] = (
    _kind(
        ("animal", "animals"), "dog cat horse cow mouse bird lion tiger wolf fox sheep rabbit duck"
    ),
    _kind(("fruit", "fruits"), "apple banana orange pear cherry grape lemon peach melon plum"),
    _kind(("vehicle", "vehicles"), "car bus train truck bicycle ship plane tram boat lorry"),
    _kind(("clothing", "clothes"), "shirt jacket coat hat scarf dress trousers socks shoes gloves"),
    _kind(("furniture", "home"), "chair table sofa desk bed cupboard shelf wardrobe lamp carpet"),
    _kind(("person", "people"), "teacher baker farmer pilot lawyer student girl boy uncle aunt"),
    _kind(("plant", "plants"), "tree rose tulip grass oak fern daisy bush cactus moss"),
)
