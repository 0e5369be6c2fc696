"""Names, places, things and numbers that fill the slots of templates."""

from random import Random

from phi3_bento.models.demo.corpus.grammar import Slots

FIRST_NAMES = """Anna Ben Carla David Emma Felix Grace Hugo Ida Jonas Karin Leo Maria Nils Olga Paul
Rosa Sam Tina Uwe Vera Will Yara Zoe Alice Bob Chris Diana Erik Fatima George Hana Ivan Julia Kenji
Laura Mehmet Nina Oscar Priya Quinn Rita Sofia Tom Ursula Victor Wendy Ahmed Bruno Clara Daniel Elena
Frank Greta Henry Ines Jack Kate Lukas Mia Noah Olivia Peter Ravi Sarah Theo Lena Marta Omar Linda
John Mary James Susan Robert Karen Michael Lisa Kevin Amir Chen Wei Yuki Lars Ingrid Pablo Lucia""".split()
LAST_NAMES = """Berg Smith Jones Brown Miller Wilson Taylor Keller Novak Silva Rossi Garcia Lopez Kim
Lee Patel Singh Meyer Weber Fischer Larsen Olsen Hansen Moreau Dubois Laurent Costa Ferrari Romano
Kowalski Yilmaz Tanaka Sato Suzuki Nguyen Tran Khan Ali Cohen Levy Clark Walker Hall Young King""".split()
CITIES = """Oslo Paris Berlin London Madrid Rome Vienna Prague Warsaw Lisbon Dublin Athens Bern Zurich
Geneva Munich Hamburg Milan Turin Naples Lyon Nice Porto Seville Bergen Malmo Helsinki Riga Tallinn
Vilnius Krakow Budapest Bucharest Sofia Belgrade Zagreb Istanbul Cairo Nairobi Lagos Delhi Mumbai
Tokyo Osaka Seoul Beijing Shanghai Singapore Sydney Perth Toronto Boston Chicago Dallas Denver
Seattle Houston Miami Lima Quito Bogota""".split()
COUNTRIES = """France Germany Spain Italy Norway Sweden Japan China India Brazil Canada Mexico Egypt
Kenya Poland Greece Turkey Peru Chile Austria Portugal Ireland Finland Denmark Australia Iceland""".split()
ADJECTIVES = """red blue green black white grey small large wooden steel leather wireless electric
folding portable digital""".split()
THINGS = """kettle lamp chair table laptop phone camera headset keyboard mouse printer jacket shirt
backpack watch bicycle blender toaster heater fan speaker monitor charger cable bottle mug pillow
blanket desk sofa mirror clock tent helmet umbrella router tablet vacuum mixer grill""".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = """January February March April May June July August September October November
December""".split()
_ONSETS = "b br c ch d dr f fl g gr h j k kl l m n p pr r s sh st t tr v w z th".split()
_VOWELS = "a e i o u a e i o ia ou ei".split()
_CODAS = " n r l s t m nd rn x k sk rt ".split(" ")
_DOMAINS = "example.com mail.com post.org example.org inbox.net shop.io web.de office.com".split()


def made_up(rng: Random) -> str:
    """A capitalised word from syllables that is in no list, such as `Brouskel`."""
    syllables = rng.choice((1, 2, 2, 2, 3))
    word = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(syllables))
    return (word + rng.choice(_CODAS)).capitalize()


def first_name(rng: Random) -> str:
    """A known first name, or one that nobody has."""
    return rng.choice(FIRST_NAMES) if rng.random() < 0.55 else made_up(rng)


def full_name(rng: Random) -> str:
    """A first name, half the time with a last name."""
    if rng.random() < 0.5:
        return first_name(rng)
    last = rng.choice(LAST_NAMES) if rng.random() < 0.5 else made_up(rng)
    return f"{first_name(rng)} {last}"


def city(rng: Random) -> str:
    """A known city, or one that is on no map."""
    return rng.choice(CITIES) if rng.random() < 0.55 else made_up(rng)


def date(rng: Random) -> str:
    """A date in one of the usual spellings."""
    day, month, year = rng.randint(1, 28), rng.randint(1, 12), rng.randint(2019, 2031)
    name = MONTHS[month - 1]
    forms = (
        f"{day} {name}",
        f"{name} {day}",
        f"{day} {name} {year}",
        f"{year}-{month:02}-{day:02}",
    )
    return rng.choice(forms)


def order_number(rng: Random) -> str:
    """An order number: digits alone or behind letters."""
    digits = "".join(rng.choice("0123456789") for _ in range(rng.randint(3, 6)))
    letters = "".join(rng.choice("ABCDEFGHKLMNPRSTUVWXYZ") for _ in range(rng.randint(1, 2)))
    return rng.choice((digits, digits, f"{letters}-{digits}", f"{letters}{digits}"))


def product(rng: Random) -> str:
    """A thing for sale, usually with an adjective before it."""
    thing = rng.choice(THINGS)
    return f"{rng.choice(ADJECTIVES)} {thing}" if rng.random() < 0.7 else thing


def email(rng: Random) -> str:
    """A mail address made of a name and a domain."""
    name = first_name(rng).lower()
    extra = rng.choice(("", "", f".{rng.choice(LAST_NAMES).lower()}", str(rng.randint(1, 99))))
    return f"{name}{extra}@{rng.choice(_DOMAINS)}"


SLOTS: Slots = {
    "name": first_name,
    "full_name": full_name,
    "city": city,
    "country": lambda rng: rng.choice(COUNTRIES),
    "date": date,
    "order": order_number,
    "product": product,
    "thing": lambda rng: rng.choice(THINGS),
    "email": email,
    "day": lambda rng: rng.choice(DAYS),
    "month": lambda rng: rng.choice(MONTHS),
    "n": lambda rng: str(rng.randint(2, 30)),
    "money": lambda rng: f"{rng.randint(2, 990)} {rng.choice(('euros', 'dollars', 'pounds'))}",
}
