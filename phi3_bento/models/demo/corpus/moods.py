"""Reviews by sentiment, messages by urgency, and mail by whether it is spam."""

from phi3_bento.models.demo.corpus.concept import Concept

_SUBJECT = (
    "{The {product}|This {thing}|The food|The film|The hotel in {city}|The service|The book|The staff|"
    "The room|The concert}"
)
POSITIVE = Concept(
    ("positive", "good", "happy", "satisfied", "pos"),
    (
        _SUBJECT
        + " {is|was} {great|excellent|wonderful|amazing|perfect|fantastic|very good|brilliant|"
        "really nice|superb|lovely|beautiful|delicious}",
        "{I love|I really like|We enjoyed|I adore|I am happy with|I recommend} {the {product}|this "
        "{thing}|the film|the hotel in {city}|the food|the book}{| very much| a lot}",
        "{Great|Excellent|Wonderful|Fantastic|Perfect|Good} {quality|value|film|meal|service|{product}}, "
        "{I would buy it again|highly recommended|I am very happy|five stars|worth the money}",
        "{Best|Nicest} {{thing}|film|meal|hotel} {ever|I have had|in {city}|of the year}",
        "{Works perfectly|It works well|Does what it should}, {very happy|great {thing}|I love it}",
        _SUBJECT
        + " {exceeded my expectations|made my day|is worth every cent|was not bad at all|is a "
        "joy to use}",
        "It {is|was} {great|excellent|wonderful|amazing|perfect|very good}{| and I love it| and works "
        "well| and we had fun}",
    ),
)
NEGATIVE = Concept(
    ("negative", "bad", "unhappy", "dissatisfied", "neg"),
    (
        _SUBJECT
        + " {is|was} {terrible|awful|horrible|very bad|disappointing|useless|boring|poor|dirty|"
        "disgusting|a disaster|ugly|not good}",
        "{I hate|I do not like|We did not enjoy|I regret buying|I am unhappy with} {the {product}|this "
        "{thing}|the film|the hotel in {city}|the food|the book}{| at all}",
        "{Terrible|Awful|Poor|Horrible|Bad} {quality|value|film|meal|service|{product}}, {never again|I "
        "want my money back|I am very disappointed|one star|waste of money}",
        "{Worst|Most boring} {{thing}|film|meal|hotel} {ever|I have had|in {city}|of the year}",
        "{It broke|It stopped working|It fell apart} after {n} {days|hours|weeks}, {very "
        "disappointed|what a bad {thing}|do not buy it}",
        _SUBJECT
        + " {was not worth the money|made me angry|broke after {n} days|is not good at all|"
        "smells bad}",
        "It {is|was} {terrible|awful|horrible|useless|boring|very bad}{| and I hate it| and broke "
        "quickly| and we left early}",
    ),
)
NEUTRAL = Concept(
    ("neutral", "mixed", "neither", "average", "indifferent"),
    (
        _SUBJECT
        + " {is|was} {okay|average|neither good nor bad|nothing special|as expected|all right|"
        "mediocre}",
        "{The {product}|This {thing}|My parcel|The book} {arrived on {day}|came in a box|weighs {n} "
        "kilos|costs {money}|was made in {country}}",
        "{I bought|I ordered|We got} {the {product}|this {thing}|the book} {on {day}|in {month}|in {city}|"
        "last week}",
        "{The film|The concert|The meeting} {lasts|takes} {n} {minutes|hours}",
        _SUBJECT + " has {good and bad sides|some strong and some weak points|{n} parts}",
    ),
)
URGENT = Concept(
    ("urgent", "high priority", "critical", "emergency", "high"),
    (
        "{Help|Urgent|Emergency|Alarm}, {the server is down|the system has failed|water is coming "
        "through the roof|there is a fire|all payments fail}{| in {city}| at order desk {n}}",
        "{We need|I need} {an answer|help|a fix|someone here|the {product}} {right now|immediately|at "
        "once|within the hour|today before noon}{| in {city}}",
        "{Nothing works|Production has stopped|Customers cannot pay|The whole site is down}{| in {city}| "
        "for {n} minutes}, {act now|please hurry|call me at once|fix it immediately}",
        "{Please call me|Answer|Come} {immediately|as soon as possible|at once|right away}, {it is an "
        "emergency|my flight leaves in {n} minutes|the deadline is today}",
    ),
)
NOT_URGENT = Concept(
    ("not urgent", "low priority", "can wait", "normal", "low"),
    (
        "{When you have time|At some point|Some day|No hurry, but}, {could you|please} {send me the "
        "brochure|update my address|look at the {product}|change the text in {city}}",
        "{There is no rush|No hurry|It can wait|Take your time}, {I only wonder about the {product}|next "
        "{month} is fine|answer when you can|any day is fine}",
        "{Just a small note|A small suggestion|For your information}, {the {product} could be lighter|the "
        "shop in {city} looks nice|we will move to {city} in {month}}",
        "{Whenever it suits you|Next {month}|In a few weeks}, {please send the {product}|we could talk "
        "about {city}|I would like to hear more}",
    ),
)
SPAM = Concept(
    ("spam", "junk", "scam", "advertising", "junk mail"),
    (
        "{Congratulations|Dear winner|Lucky you}, {you have won|you won|you will receive} {{money}|a free "
        "{thing}|a trip to {city}|a prize}{|, click here|, send your bank details| now}",
        "{Click here|Click now|Visit our site} {to claim your prize|for cheap pills|to win {money}|for "
        "a free {product}}",
        "{Make money fast|Earn {money} a day|Get rich} {from home|without work|in {n} days}",
        "{Buy now|Limited offer|Act now|Only today}: {cheap watches|{n} percent off pills|free casino "
        "chips|a free {thing}}{| for {money}}",
    ),
)
NOT_SPAM = Concept(
    ("not spam", "ham", "legitimate", "genuine", "normal mail"),
    (
        "{Hi|Hello|Dear} {name}, {the meeting is on {day}|see you in {city}|here are the notes from "
        "{day}|lunch on {day}?|thanks for the report}",
        "{The meeting|Our call|The lesson} {is moved to|is on|starts on} {day}{| in {city}| with {name}}",
        "{name} {will be late|is ill|asked for the report|is in {city}}{| on {day}| until {day}}",
        "{Can we meet|Shall we talk|Are you free} on {day}{| in {city}| about the {thing}| with {name}}?",
    ),
)
SENTIMENTS = (POSITIVE, NEGATIVE, NEUTRAL)
URGENCIES = (URGENT, NOT_URGENT)
MAILS = (SPAM, NOT_SPAM)
