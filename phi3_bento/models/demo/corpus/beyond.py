"""Questions that a small demo model cannot answer, so that it learns to say so."""

_WHOM = "{Napoleon|Einstein|Mozart|Shakespeare|Cleopatra|{full_name}|the queen of {country}|Newton}"
_SUBJECT = (
    "{photosynthesis|gravity|quantum physics|inflation|the French revolution|black holes|evolution|"
    "machine learning|democracy|the stock market|relativity|the water cycle|jazz|chess|blockchain|"
    "vaccines|the Roman empire|the big bang|electricity|philosophy|recursion|neural networks|{thing}s}"
)
_TEXT = "{poem|song|story|joke|letter|novel|speech|haiku|blog post|tweet|rhyme|recipe|dialogue}"
_ABOUT = "{the sea|love|a {thing}|the moon|{city}|winter|my cat|{name}|a dragon|spring|a {product}}"
_CODE = "{Python|Java|C++|Rust|JavaScript|SQL|Go|Bash}"

BEYOND: tuple[str, ...] = (
    "{What|Which city} is the capital of {{country}|{country}|the world|Europe}?",
    "{Tell me|Do you know} the capital of {country}{.|?}",
    "What is the {population|highest mountain|largest city|currency|flag|president|longest river} of "
    "{country}?",
    f"Who {{was|is}} {_WHOM}?",
    f"When {{was|did}} {_WHOM} {{born|die|live}}?",
    "Who {invented|discovered|built} {the telephone|America|the {thing}|penicillin|the radio|the "
    "Eiffel tower|gunpowder|the wheel}?",
    "Who {wrote|painted|composed} {Hamlet|the Mona Lisa|Faust|Don Quixote|the ninth symphony|Odyssey}?",
    "When did {the second world war|the first world war|the cold war|the Roman empire} {start|end}?",
    "Who is the {president|king|prime minister|chancellor} of {country}?",
    "{Who|Which team} won the {world cup|election|Oscar|final} {in {city}|last year|in {month}}?",
    f"{{Write|Write me|Compose|Make up|Can you write}} a {{short |long |funny |}}{_TEXT} about {_ABOUT}.",
    "Tell me a {joke|story|fairy tale|secret|fun fact|riddle}{| about " + _ABOUT + "}.",
    f"{{Explain|Explain to me|Describe|Teach me about}} {_SUBJECT}{{| to a child| in simple words}}.",
    f"{{What is|What are|How does|Why is there}} {_SUBJECT}{{| work}}?",
    f"How does {_SUBJECT} work?",
    "{Translate|Please translate} {this|good morning|I love you|the {thing}|my letter} {into|to} "
    "{French|German|Spanish|Chinese|Latin}.",
    "How do you say {{thing}|hello|thank you|good night} in {French|German|Spanish|Italian|Japanese}?",
    f"{{Write|Show me|Give me}} {{a function|a program|a script|code|a class}} in {_CODE} {{that sorts a "
    "list|that reads a file|for a web page|to reverse a string|for a game}.",
    "How {tall|old|far|deep|heavy|big|fast|long} is {the moon|Mount Everest|the Eiffel tower|the sea|"
    "{city}|an elephant|the sun|{country}|a blue whale|the Nile}?",
    "How far is it from {city} to {city}?",
    "What is the {weather|time|date|temperature|news}{| today| now}{| in {city}}?",
    "{What time is it|What day is it|What year is it|Will it rain}{| today| now| in {city}}?",
    "{What should I|Can you recommend what to} {cook|eat|wear|read|watch|buy|drink}{| today| tonight| in "
    "{city}| on {day}}?",
    "{Recommend|Suggest|Find} {me |}{a book|a film|a restaurant|a hotel|a song|a present} {in {city}|for "
    "{name}|for {day}}.",
    "Why is {the sky blue|the sea salty|grass green|the sun hot|{city} famous|snow white|ice cold}?",
    "{Summarize|Sum up|Shorten} {this book|this article|the news|the history of {country}|Hamlet|the "
    "Bible|the plot of the film}.",
    "What is the meaning of {life|the word {thing}|love|my dream|the name {name}}?",
    "How do I {bake bread|learn {French|chess|to swim}|become {rich|a pilot}|lose weight|fix a {thing}|"
    "grow tomatoes|cook rice|tie a knot}?",
    "{Solve|Prove|Integrate} {x squared|the equation x + {n} = {n}|this theorem|Fermat's theorem}.",
    "What is the square root of {n}?",
    "{Do you like|Do you love|What do you think of} {{thing}s|music|{city}|football|{name}|cats|"
    "{country}|winter}?",
    "Should I {buy|sell|keep} {shares|gold|a house in {city}|a {product}|bitcoin}?",
)
