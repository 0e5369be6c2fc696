"""What the guards know of English words: inflections, synonyms, opposites, and their uses."""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Final

LEXICON: Final = Path(__file__).parent / "lexicon"


def entries(name: str) -> Iterator[str]:
    """The lines of a file of the lexicon, without its comments."""
    for line in (LEXICON / f"{name}.txt").read_text("utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            yield line


def listed(text: str) -> frozenset[str]:
    """The words of `text`."""
    return frozenset(text.split())


def _inflections() -> tuple[dict[str, str], frozenset[str]]:
    """What each irregular form is a form of, and the forms that can only be past."""
    base_of: dict[str, str] = {}
    past: set[str] = set()
    for line in entries("verbs"):
        both, _, only_past = line.partition(" > ")
        base, *forms = both.split()
        past.update(only_past.split())
        base_of |= dict.fromkeys([*forms, *only_past.split()], base)
    return base_of, frozenset(past)


def _synonyms() -> dict[str, frozenset[str]]:
    groups: dict[str, set[str]] = {}
    for number, line in enumerate(entries("synonyms")):
        for word in line.split():
            groups.setdefault(word, set()).add(f"#{number}")
    return {word: frozenset(names) for word, names in groups.items()}


def _opposites() -> frozenset[frozenset[str]]:
    found: set[frozenset[str]] = set()
    for line in entries("opposites"):
        sides = [side.split() for side in line.split(" / ")]
        for left, right in combinations(sides, 2):
            found.update(frozenset((one, other)) for one in left for other in right)
    return frozenset(found)


_BASE_OF, ONLY_PAST = _inflections()
_GROUPS_OF = _synonyms()
OPPOSITES = _opposites()

_PREFIXES = ("un", "in", "im", "il", "ir", "dis", "de", "non", "mis", "anti", "re")


def forms(word: str) -> frozenset[str]:
    """A lower-case word, and the words that it may be an inflection of."""
    found = {word}
    if base := _BASE_OF.get(word):
        found.add(base)
    elif len(word) > 3 and word not in _UNINFLECTED:
        found.update(_regular(word))
    return frozenset(found)


def _regular(word: str) -> Iterator[str]:
    if word.endswith("ies"):
        yield from (word[:-3] + "y", word[:-1])
    elif word.endswith(("sses", "shes", "ches", "xes", "zes", "oes", "uses")):
        yield from (word[:-2], word[:-1])
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        yield word[:-1]
    for ending in ("ied", "ed", "ing"):
        stem = word.removesuffix(ending)
        if stem == word or len(stem) < 2 or stem[-1] == "e" or not _VOWELS.intersection(stem):
            continue
        yield from (stem + "y",) if ending == "ied" else (stem, stem + "e")
        if len(stem) > 3 and stem[-1] == stem[-2]:
            yield stem[:-1]
        return


def meanings(word: str) -> frozenset[str]:
    """What another word must share to stand for this one: a form, or a group of synonyms."""
    bases = forms(word)
    return bases.union(*(_GROUPS_OF.get(base, frozenset()) for base in bases))


def are_opposites(one: str, other: str) -> bool:
    """One of the words says the contrary of the other, as far as the lexicon knows."""
    for left in forms(one):
        for right in forms(other):
            if frozenset((left, right)) in OPPOSITES or _is_prefixed(left, right):
                return True
    return False


def _is_prefixed(one: str, other: str) -> bool:
    short, long = sorted((one, other), key=len)
    return len(short) > 2 and any(long == prefix + short for prefix in _PREFIXES)


_VOWELS = frozenset("aeiouy")
_UNINFLECTED = listed(
    "news customs glasses goods arms means contents species series physics economics politics need"
    " seed speed during string spring thing something nothing anything everything morning evening"
    " united bearing left found lens outdoors"
)
"""What looks like an inflection and means something else."""
ARTICLES = listed("a an the this these those that my our your his her its their")
SILENT = listed("is are was were am be been being do does did please there also and so very quite")
"""Words that neither add nor change anything once voice, tense and kind of question are known."""
PERSONS = {
    person: name
    for name, persons in {
        "i": "i my mine we our ours",
        "me": "me us myself ourselves",
        "you": "you your yours yourself",
        "he": "he him his himself",
        "she": "she her hers herself",
        "it": "it its itself",
        "they": "they them their theirs themselves",
    }.items()
    for person in persons.split()
}
NEGATIONS = listed(
    "not never no none nothing nobody nowhere neither nor without hardly scarcely barely unless"
    " except lack fail avoid prevent refuse deny stop exclude miss"
)
PREPOSITIONS = {
    "into": "to", "onto": "to", "toward": "to", "towards": "to", "till": "until", "upon": "on",
    **{
        word: word
        for word in listed(
            "in on at for with without by from to about over under between against through during"
            " before after since until than as like via per among across behind above below near"
            " around inside outside within off out up down because if when while unless although"
            " whether despite instead using where unlike versus vs"
        )
    },
}  # fmt: skip
PLACES = listed("in on at")
"""Prepositions that people take one for another before a name."""
MODALS = listed("can could should must may might will would shall")
OPENERS = listed("is are am was were do does did can could should will would has have had may must")
"""Words that begin a question to be answered by yes or no."""
COMMANDS = listed(
    "tell explain give show write list name translate summarize summarise describe find suggest"
    " recommend create generate calculate compute convert define compare classify extract help"
    " rewrite rephrase correct fix check make draft compose provide teach propose identify count"
    " sort answer add solve read say spell recall remind"
)
ADDRESSING = listed(
    "feel know think like believe want love hate prefer work learn sleep remember store protect use"
    " handle process collect share sell train ship deliver charge treat decide answer help"
)
"""What may be asked of who answers: how do you work is not how do I work."""
WORDINGS = listed(
    "synonym antonym plural singular spell spelling pronounce pronunciation translate translation"
    " say word words mean rhyme rhymes letter letters vowel vowels syllable syllables etymology"
    " opposite conjugate conjugation noun verb adjective prefix suffix anagram palindrome"
    " correctly reverse character characters uppercase lowercase grammar sentence"
)
"""Where one of these stands, a text speaks of words: no word may stand for another."""
FORMATS = listed(
    "json xml yaml csv html markdown table bullet bullets list sentence sentences word words"
    " paragraph paragraphs line lines poem haiku essay email letter story tweet outline summary"
    " short brief concise long detailed detail simple simply technical formal informal casual"
    " funny child children kid kids beginner beginners expert experts example examples rhyme"
    " briefly step steps message fact facts idea ideas title titles song joke"
)
SUPERLATIVES = listed("most least only all each every both few many second next other another")
LANGUAGES = listed(
    "english french german spanish italian dutch swedish portuguese danish polish greek turkish"
    " finnish norwegian russian chinese japanese korean arabic hindi latin hebrew czech hungarian"
    " romanian bulgarian ukrainian vietnamese thai indonesian mandarin cantonese catalan swahili"
    " persian urdu bengali icelandic irish welsh"
)
CODE_LANGUAGES = listed(
    "python java javascript typescript rust go^ ruby^ kotlin swift^ php perl scala haskell bash sql"
    " c++ c# r julia matlab powershell"
)
DAYS = listed("monday tuesday wednesday thursday friday saturday sunday")
TIMES = DAYS | listed(
    "january february march april may june july august september october november december"
    " yesterday today tomorrow now tonight morning noon evening night midnight week weekend month"
    " year day hour minute century spring summer autumn winter later earlier ago last next always"
    " never already yet still before after am pm o'clock"
)
CASED = listed(
    "turkey china polish march may apple us it who aids go rust swift ruby amazon word access"
    " oracle mercury mars jordan chad nice reading bath cork will mark bill frank rose grace hope"
    " faith august"
)
"""Names that are other words when they are not capitalised."""
ENGLISH = (
    ARTICLES | SILENT | PERSONS.keys() | NEGATIONS | PREPOSITIONS.keys() | MODALS | OPENERS
    | COMMANDS | WORDINGS | FORMATS | listed("of what why how who which whose and or not i you")
)  # fmt: skip
FOREIGN = listed(
    "der das und ist ich nicht wie wo wer warum ein eine sie mit auf el los las que como por para"
    " una donde cual es est le les une des et je vous pourquoi comment quel quelle il che di della"
    " perche come cosa un lo gli het een van niet wat hoe waarom jag och att vad hur varfor nao"
    " uma voce onde qual zu auf wann kann ik je ne pas dans sur avec"
)
_UNITS = """
kilometer kilometers kilometre kilometres km kms|meter meters metre metres|centimeter centimeters
centimetre centimetres cm|millimeter millimeters millimetre millimetres mm|mile miles|yard yards
yd|foot feet ft|inch inches|gram grams gramme grammes|kilogram kilograms kilo kilos kg kgs|pound
pounds lb lbs|ounce ounces oz|tonne tonnes|ton tons|stone stones|liter liters litre litres|
milliliter milliliters millilitre millilitres ml|gallon gallons|pint pints|cup cups|teaspoon
teaspoons tsp|tablespoon tablespoons tbsp|celsius centigrade|fahrenheit|kelvin|degree degrees|
seconds secs|minute minutes mins|hour hours hrs|day days|week weeks|month months|year years yrs|
dollar dollars usd|euro euros eur|gbp|cent cents|yen|percent|byte bytes|kilobyte kilobytes|
megabyte megabytes|gigabyte gigabytes|terabyte terabytes|watt watts|volt volts|calorie
calories kcal|joule joules|mph|kph|acre acres|hectare hectares|knot knots|bit bits|decade decades|
century centuries|millisecond milliseconds ms|kilowatt kilowatts kw
"""
UNITS = {unit: group.split()[0] for group in _UNITS.split("|") for unit in group.split()}
