"""Short extraction: copy one value out of a sentence, or several as a JSON object."""

import json
from random import Random

from phi3_bento.models.demo.corpus.example import Example, ask
from phi3_bento.models.demo.corpus.grammar import Split, draw
from phi3_bento.models.demo.corpus.systems import DATA_DESK, system_prompt
from phi3_bento.models.demo.corpus.vocabulary import SLOTS

# Each field: the slot that fills it, the names that a user may give it in JSON, how it is asked for.
FIELDS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "name": ("full_name", ("name", "name", "customer", "person"), ("name", "person's name")),
    "city": ("city", ("city", "city", "place", "town"), ("city", "town")),
    "date": ("date", ("date", "date", "day"), ("date", "day")),
    "order": ("order", ("order", "order_number", "order_id", "number"), ("order number",)),
    "product": ("product", ("product", "product", "item"), ("product", "item")),
    "email": ("email", ("email", "email", "mail"), ("e-mail address", "email", "mail address")),
}
_SENTENCES = (
    "{name} lives in {city}.",
    "{name} lives in {city} and ordered a {product} on {date}.",
    "My name is {name} and I live in {city}.",
    "My name is {name}, my order number is {order}.",
    "I am {name} from {city}, my email is {email}.",
    "{name} from {city} bought a {product}.",
    "{name} moved to {city} on {date}.",
    "Order {order} for {name} was sent to {city} on {date}.",
    "Order {order}: one {product}, delivered to {city}.",
    "Please send the {product} to {name} in {city}.",
    "The {product} for {name} arrives on {date}.",
    "On {date} {name} ordered a {product}.",
    "On {date}, {name} flew to {city}.",
    "Hello, this is {name}. Where is my order {order}?",
    "Hi, I ordered a {product} on {date}, order number {order}.",
    "You can reach {name} at {email}.",
    "Please write to {email} about order {order}.",
    "Contact: {name}, {email}, {city}.",
    "{name} ({email}) wants to return the {product}.",
    "Mr. {name} will be in {city} on {date}.",
    "The meeting with {name} in {city} is on {date}.",
    "I have not received order {order} yet. Regards, {name}",
    "We met {name} in {city}.",
    "{name} called from {city} about the {product}.",
    "The order {order} from {date} has a broken {product}.",
    "My mail is {email}, I live in {city}.",
    "Dear team, the {product} from order {order} is broken. {name}, {city}",
    "A {product} was sold to {name} on {date} in {city}.",
)
_ONE = (
    "What is the {field}?", "Extract the {field}.", "Which {field} is mentioned?", "Give me the {field}.",
    "Find the {field} in this text.", "Extract the {field} from the text.", "Return only the {field}.",
    "Write down the {field}.", "What {field} does the text mention?",
)  # fmt: skip
_JSON_ONE = (
    "Return JSON with the field {fields}.", "Extract {fields} as JSON.",
    "Give me the {fields} as a JSON object.", "JSON with the field {fields}:",
)  # fmt: skip
_JSON_MANY = (
    "Return JSON with the fields {fields}.", "Extract {fields} as JSON.",
    "Give me {fields} as a JSON object.", "Answer with a JSON object with the keys {fields}.",
    "JSON with the fields {fields}:", "Return {fields} as JSON.",
)  # fmt: skip
_LAYOUTS = (
    "{q}\n{t}", "{q}\n\n{t}", "{q} {t}", "{t}\n{q}", "{q}\nText: {t}", "{t} {q}", "{q}\nSentence: {t}",
)  # fmt: skip


def extraction(rng: Random, split: Split) -> Example:
    """A sentence and the request for one or several of its values."""
    sentence, values = _sentence(rng, split)
    wanted = rng.sample(list(values), rng.randint(1, min(4, len(values))))
    if rng.random() < 0.45:
        field = wanted[0]
        question = rng.choice(_ONE).replace("{field}", rng.choice(FIELDS[field][2]))
        answer = values[field]
    else:
        keys = {field: rng.choice(FIELDS[field][1]) for field in wanted}
        forms = _JSON_ONE if len(keys) == 1 else _JSON_MANY
        question = rng.choice(forms).replace("{fields}", _listed(list(keys.values())))
        answer = json.dumps({key: values[field] for field, key in keys.items()}, ensure_ascii=False)
    whole = rng.choice(_LAYOUTS).replace("{q}", question).replace("{t}", sentence)
    system = DATA_DESK if rng.random() < 0.05 else system_prompt(rng, long=0.02)
    return ask("extraction", whole, answer, system)


def _sentence(rng: Random, split: Split) -> tuple[str, dict[str, str]]:
    """A sentence and its values; every value belongs to `split`, so held-out ones are new."""
    template = rng.choice(_SENTENCES)
    values = {
        field: draw(SLOTS[slot], rng, split)
        for field, (slot, _, _) in FIELDS.items()
        if "{" + field + "}" in template
    }
    sentence = template
    for field, value in values.items():
        sentence = sentence.replace("{" + field + "}", value)
    return sentence, values


def _listed(keys: list[str]) -> str:
    return keys[0] if len(keys) == 1 else ", ".join(keys[:-1]) + " and " + keys[-1]
