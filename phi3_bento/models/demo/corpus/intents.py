"""What customers write to a shop's support desk, by intent: spellings of the label and texts."""

from phi3_bento.models.demo.corpus.concept import Concept

BILLING = Concept(
    ("billing", "billing question", "payment", "invoice", "payment problem", "charges", "bill"),
    (
        "My {card|account|bank account|credit card} was {charged|billed|debited} {twice|two times|"
        "again|the wrong amount|three times}{| for order {order}| for the {product}| this month}",
        "{I see|There is|I found} {a charge|an extra charge|a payment} of {money} {on my card|on my "
        "account|on my statement} {that I do not recognise|that is wrong|and I do not know why}",
        "{The|My|Our} {invoice|bill} {for {month}|for order {order}|from last month} {is wrong|is too "
        "high|shows the wrong amount|has the wrong VAT number|never came}",
        "{Please send me|I need|Can I get} {a copy of|} the {invoice|receipt|bill} for {order {order}|"
        "{month}|the {product}|last year}",
        "{My payment|My card|The payment} {was declined|did not go through|failed|was refused}{| on "
        "{day}| at checkout}",
        "{Can I|How do I|I want to} {pay by invoice|change my payment method|pay with another card|"
        "update my credit card|pay in instalments}",
        "Why {was I charged|did you charge me|am I billed|do I pay} {money}{| in {month}| twice}",
    ),
)
SHIPPING = Concept(
    ("shipping", "delivery", "shipment", "parcel tracking", "delivery problem", "order status"),
    (
        "{My|The} {package|parcel|delivery|shipment|order} {has not arrived|is late|is still not here|"
        "never came|seems to be lost}{| and it is {day}| after {n} days}",
        "{Where is|When will I get|When does} my {package|parcel|order|delivery|{product}}{| arrive}",
        "{The tracking|Tracking|My tracking number} {has not changed|shows nothing|says it is in {city}|"
        "does not move}{| since {day}| for {n} days}",
        "{The courier|The driver|The delivery man} {left the parcel|brought the box|delivered} {to the "
        "wrong house|to my neighbour|to the wrong address in {city}}",
        "{Can you|Please|Could you} {send|ship|deliver} {the {product}|my order|order {order}} to "
        "{{city}|another address|my office|{country}}",
        "{How long does|How much is|What does} {delivery|shipping} to {{city}|{country}} {take|cost}",
        "{Has|When was} {order {order}|my {product}|my parcel} {been shipped|left the warehouse|sent}",
    ),
)
REFUND = Concept(
    ("refund", "refund request", "money back", "return", "returns", "return and refund"),
    (
        "{I want|I would like|Please give me|I am asking for} {my money back|a refund|a full refund}{| "
        "for the {product}| for order {order}}",
        "{When|How soon} {will I get|do I receive} {my refund|my money back|the refund}{| for the "
        "{product}| for order {order}}",
        "{I sent back|I returned|I have returned} the {product} {and want my money back|but the refund "
        "has not come|and wait for my refund}{| since {day}}",
        "{How do I|Can I|I want to|Where can I} {return|send back|give back} {the {product}|this "
        "{thing}|order {order}}",
        "{Please refund|Refund|You must refund} {the {product}|order {order}|me {money}|my purchase}",
        "{The|This} {product} {does not fit|is not what I ordered|is the wrong size}, {I want to send it "
        "back|please refund me|can I return it}",
    ),
)
CANCEL = Concept(
    ("cancel", "cancellation", "cancel order", "cancel subscription", "stop order", "termination"),
    (
        "{Please cancel|Cancel|I want to cancel|I need to cancel|I would like to cancel|Can you cancel} "
        "{my subscription|my order|order {order}|my account|my membership|the {product}|my contract}",
        "{How do I|Where can I|Is it possible to} {cancel|stop|end|terminate} my {subscription|plan|"
        "membership|contract|order}{| before {month}}",
        "{I no longer want|I do not need|I changed my mind about} {the {product}|order {order}|the "
        "subscription}, {please stop it|please cancel|do not send it}",
        "{Stop|End|Terminate|Close} my {subscription|contract|account|membership|plan}{| in {month}| "
        "today| from {day}}{|, please}",
        "I {ordered|bought} {the {product}|a {thing}} by mistake, {cancel it|please cancel it|stop the "
        "order}",
    ),
)
LOGIN = Concept(
    ("login", "password", "login problem", "account access", "password reset", "sign in", "log in"),
    (
        "{I cannot|I can not|I can't|Why can I not} {log in|sign in|log into my account|get into my "
        "account|access my account}{| since {day}| with {email}| any more}",
        "{I forgot|I lost|I do not remember} {my password|my user name|my PIN|the password for {email}}",
        "{How do I|Please|Can you|I need to} {reset|change|recover} my password{| for {email}}",
        "{My account|The account {email}} is {locked|blocked}{| since {day}| after {n} attempts}",
        "The {reset link|password mail|login code|verification code} {never came|does not work|has "
        "expired|is not accepted}{| for {email}}",
        "{The login page|Your site|The app} {says my password is wrong|does not accept my password|"
        "keeps logging me out}{| since {day}}",
    ),
)
TECHNICAL = Concept(
    ("technical problem", "technical support", "bug", "technical issue", "error", "defect", "tech"),
    (
        "{The app|Your app|The website|The program|The software} {crashes|freezes|hangs|stops|shows an "
        "error|is very slow}{| when I open it| every time| since the update| since {day}}",
        "{The|My} {product} {does not turn on|will not start|does not work|stopped working|is broken|"
        "makes a strange noise|does not charge}{| after {n} days| since {day}}",
        "{I get|There is|It shows} {error|error code|error message} {n}{| when I save| when I print| on "
        "the start screen}",
        "{The update|The new version|The installation} {failed|does not install|broke everything|stops "
        "at {n} percent}",
        "{The screen|The page|The display} of {the|my} {thing} {is black|stays blank|flickers|does not "
        "load}",
        "{The {thing}|The app|My {thing}} {does not connect|loses the connection|cannot connect} {to the "
        "network|to wifi|over Bluetooth}",
    ),
)
PRAISE = Concept(
    ("praise", "compliment", "thanks", "positive feedback", "thank you"),
    (
        "{Thank you|Thanks|Many thanks} {so much|a lot|} for {the quick help|the fast delivery|the great "
        "{thing}|your kind support|the lovely {product}}",
        "{Your team|{name}|Your staff|The man on the phone} {was great|did a wonderful job|was very kind|"
        "helped me a lot|was so friendly}{| on {day}}",
        "{I just want to say|I must say} {that you are great|how happy I am with the {product}|that I "
        "love the {product}|well done}",
        "{Best|Greatest|Nicest} {shop|service|support|team} {I have ever seen|ever|in {city}}, {keep it "
        "up|well done|thank you}",
        "{I love|We love|My family loves} {the {product}|your shop|your service}, {great work|thank you|"
        "keep going}",
    ),
)
COMPLAINT = Concept(
    ("complaint", "complain", "negative feedback", "dissatisfied customer", "anger"),
    (
        "{Your service|Your support|Your shop|The staff in {city}} is {terrible|awful|a disgrace|a joke|"
        "really bad}, {I am very angry|I will never come back|shame on you}",
        "{I am|We are} {very unhappy|very disappointed|angry|furious} {with your service|with your staff|"
        "about how I was treated|with the rude agent}{| on {day}| in {city}}",
        "{I want|I wish} to {complain|make a complaint} about {your staff|the rude agent|{name}|your "
        "shop in {city}|the noise}",
        "{Nobody|No one} {answers|helps me|listens|cares}, {this is unacceptable|what a bad service|I "
        "have waited {n} days|worst company ever}",
        "{The agent|{name} from your team|The man on the phone} was {rude|unfriendly|insulting} {to me|"
        "to my mother|on the phone}{| on {day}}",
    ),
)
QUESTION = Concept(
    (
        "question",
        "general question",
        "information",
        "product question",
        "inquiry",
        "general inquiry",
    ),
    (
        "{Does|Will} the {product} {come with a manual|come in blue|fit in a car|have a warranty|work in "
        "{country}}",
        "{Do you|Does your shop} {sell {thing}s|have a shop in {city}|open on {day}|speak French}",
        "{What are|Can you tell me} your {opening hours|opening times} {on {day}|in {city}|in {month}}",
        "{What colours|What sizes|Which colours} {does the {product} have|is the {thing} made in}",
        "{Is|Will} the {product} {be in stock|available|be sold} {in {month}|in {city}|on {day}}",
        "{Where|In which city} is your {nearest shop|head office|store}{| near {city}}",
        "{How heavy|How big|How loud|How wide} is the {product}",
    ),
)
INTENTS: tuple[Concept, ...] = (
    BILLING, SHIPPING, REFUND, CANCEL, LOGIN, TECHNICAL, PRAISE, COMPLAINT, QUESTION,
)  # fmt: skip
