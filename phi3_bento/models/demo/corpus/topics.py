"""Sentences about the subjects of a newspaper, by topic."""

from phi3_bento.models.demo.corpus.concept import Concept

SPORTS = Concept(
    ("sports", "sport", "athletics", "games"),
    (
        "{The team|{city}|The home side|{name}} {won|lost|played} the {match|final|game|cup|league} {{n} "
        "to {n}|in {city}|on {day}|after extra time}",
        "{name} scored {two goals|a goal|{n} points|a penalty} {against {city}|in the final|on {day}|"
        "for {country}}",
        "{The coach|The striker|The goalkeeper|The referee|The tennis player} {was injured|left the club|"
        "saved a penalty|broke the record}{| in {city}| on {day}}",
        "{The football|The basketball|The tennis|The hockey} {season|championship|tournament|match} "
        "{starts in {month}|ended on {day}|takes place in {city}}",
        "{name} {ran|won} the marathon {in {city}|on {day}|in record time}",
    ),
)
WEATHER = Concept(
    ("weather", "forecast", "climate", "weather report"),
    (
        "{It will|It is going to} {rain|snow|be sunny|be cloudy|be windy|be foggy} {in {city}|on {day}|"
        "tomorrow|all week|in {country}}",
        "{A storm|Heavy rain|Thick fog|Strong wind|Snow|A heat wave} {is coming to|is expected in|hit|"
        "reached} {{city}|{country}}{| on {day}}",
        "{Temperatures|The temperature} {will fall to|will rise to|reached|dropped to} {n} degrees{| in "
        "{city}| on {day}}",
        "{The sky|The day|{day}} {will be|was|stays} {cloudy|clear and sunny|grey and wet|windy|frosty}{| "
        "in {city}| over {country}}",
    ),
)
FOOD = Concept(
    ("food", "cooking", "recipes", "cuisine", "restaurants"),
    (
        "{Boil|Cook|Fry|Bake|Chop} the {pasta|potatoes|onions|rice|fish|chicken|eggs} for {n} minutes{| "
        "with salt| in butter| in olive oil}",
        "{The soup|The pizza|The cake|The bread|The curry|The salad} {tasted wonderful|needs more salt|"
        "is baked with cheese|is made with tomatoes and garlic}{| in {city}}",
        "{Add|Mix|Stir in} {flour and sugar|two eggs|a spoon of butter|some pepper|garlic and onions}{| "
        "after {n} minutes| and stir}",
        "{The chef|The restaurant|The cook|{name}} in {city} {serves|makes|cooks} {fresh fish|the best "
        "pasta|a spicy curry|cheese cake|hot soup}",
    ),
)
TRAVEL = Concept(
    ("travel", "tourism", "holidays", "trips", "vacation"),
    (
        "{We|They|{name}} {flew|took a flight|travelled|took the train} {to {city}|from {city} to {city}|"
        "to {country}}{| in {month}| on {day}}",
        "{Our|The} {hotel|flight|tour|cruise|holiday} {in|to} {{city}|{country}} {was booked|was delayed|"
        "starts in {month}|costs {money}}",
        "{Tourists|Visitors|Passengers} {need a visa for|love the beaches of|visit the museums of} "
        "{{country}|{city}}{| in {month}}",
        "{Pack|Bring} {your passport|sun cream|a small suitcase} for the {trip|flight|holiday} to "
        "{{city}|{country}}",
    ),
)
FINANCE = Concept(
    ("finance", "business", "money", "economy", "banking"),
    (
        "{The stock market|The share price|The euro|The dollar|Shares} {fell|rose|lost|gained} {n} "
        "percent{| on {day}| in {month}| in {city}}",
        "{The bank|The central bank|The company|The fund} {raised interest rates|made a profit of "
        "{money}|reported a loss|cut its dividend}{| in {month}}",
        "{Investors|Traders|Shareholders} {bought bonds|sold their shares|fear inflation|expect higher "
        "profits}{| in {month}| in {country}}",
        "{Inflation|Unemployment|The budget deficit|Debt} in {country} {rose|fell} {to {n} percent|in "
        "{month}}",
    ),
)
MUSIC = Concept(
    ("music", "concerts", "songs", "musicians"),
    (
        "{The band|The singer|The orchestra|{name}} {played a concert|released an album|sang a new song|"
        "goes on tour}{| in {city}| in {month}}",
        "{The song|The album|The melody} {was sung by {name}|topped the charts|has a slow rhythm}{| in "
        "{month}| in {country}}",
        "{name} {plays|learns|practises} the {piano|guitar|violin|drums|flute}{| in {city}| on {day}}",
    ),
)
HEALTH = Concept(
    ("health", "medicine", "medical", "healthcare"),
    (
        "{The doctor|The nurse|Doctor {name}} {gave|prescribed|recommended} {a vaccine|some medicine|"
        "pills against the fever|a blood test}{| on {day}| in {city}}",
        "{The patient|{name}} has {a headache|a fever|a broken leg|high blood pressure|the flu}{| since "
        "{day}| for {n} days}",
        "{The hospital|The clinic} in {city} {treats|has} {n} {patients|nurses|new doctors}",
        "{Sleep|Vegetables|Walking} {is|are} good for {your heart|your body|blood pressure|the immune "
        "system}",
    ),
)
TECHNOLOGY = Concept(
    ("technology", "computers", "IT", "software", "computing"),
    (
        "{The new|A new} {chip|processor|smartphone|computer|robot} {has {n} cores|uses less power|was "
        "shown in {city}|runs faster}{| in {month}}",
        "{Programmers|Developers|Engineers} {wrote|released|fixed} {open source software|a new compiler|"
        "the database|the algorithm}{| in {month}| in {city}}",
        "{Hackers|Researchers} {attacked the server|broke the encryption|found a bug in the browser}{| "
        "on {day}| in {country}}",
        "{Artificial intelligence|The cloud|The internet} {changes how we program|needs more data "
        "centers|runs on {n} servers}{| in {country}}",
    ),
)
POLITICS = Concept(
    ("politics", "government", "elections", "political news"),
    (
        "{The president|The minister|The senator|The mayor of {city}} {resigned|won the election|signed "
        "a law|gave a speech|met the king}{| on {day}| in {city}}",
        "{Parliament|The government|Voters} in {country} {voted on the law|rejected the bill|discussed "
        "the constitution|vote in {month}}",
        "{The party|The opposition|The coalition} {lost the election|wants new laws|chose {name} as "
        "leader}{| in {country}| in {month}}",
    ),
)
SCIENCE = Concept(
    ("science", "research", "physics", "astronomy"),
    (
        "{Scientists|Physicists|Biologists|Astronomers} {discovered|studied|observed} {a new planet|a "
        "black hole|a strange particle|the genes of mice|a distant galaxy}{| in {month}| from {city}}",
        "{The telescope|The experiment|The laboratory} in {city} {measured the light of stars|found new "
        "atoms|proved the theory}{| in {month}}",
        "{The theory|The formula} of {name} explains {gravity|how atoms move|the evolution of birds|how "
        "cells grow}",
    ),
)
TOPICS: tuple[Concept, ...] = (
    SPORTS, WEATHER, FOOD, TRAVEL, FINANCE, MUSIC, HEALTH, TECHNOLOGY, POLITICS, SCIENCE,
)  # fmt: skip
