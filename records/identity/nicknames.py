"""Short forms of first names, so that Bob on a partner's list may be Robert on the district's.

A pair here says only that one child may go by both names; it never says that two children are one.
What is not here is compared letter by letter like any other name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

SHORT_FORMS: Mapping[str, str] = {
    "abigail": "abby abbie gail",
    "alejandra": "ale jandra",
    "alejandro": "ale alejo alex",
    "alexander": "alex xander",
    "alexandra": "alex alexa lexi sandra",
    "alfredo": "alfred fredo",
    "andrea": "andi andy",
    "andrew": "andy drew",
    "anthony": "tony",
    "antonio": "tony tono",
    "benjamin": "ben benny benji",
    "brandon": "bran",
    "cameron": "cam",
    "catherine": "cathy kate katie cat",
    "charles": "charlie chuck",
    "charlotte": "charlie lottie",
    "christian": "chris",
    "christina": "chris chrissy tina",
    "christopher": "chris topher kit",
    "daniel": "dan danny",
    "daniela": "dani",
    "david": "dave davey",
    "dominic": "dom nick",
    "eduardo": "eddie lalo",
    "edward": "ed eddie ned",
    "elijah": "eli",
    "elizabeth": "beth betsy eliza liz lizzie liza ellie",
    "emily": "em emmy",
    "emmanuel": "manny",
    "enrique": "kike quique",
    "evelyn": "evie eve",
    "fernando": "nando",
    "francisco": "paco pancho frank cisco",
    "gabriel": "gabe",
    "gabriela": "gabby gaby",
    "gregory": "greg",
    "guadalupe": "lupe lupita",
    "guillermo": "memo",
    "isabella": "bella izzy isa",
    "isabel": "isa izzy",
    "jacob": "jake",
    "james": "jim jimmy jamie",
    "javier": "javi",
    "jennifer": "jen jenny",
    "jesus": "chuy",
    "jessica": "jess jessie",
    "john": "johnny jack",
    "jonathan": "jon johnny",
    "jose": "pepe",
    "joseph": "joe joey",
    "joshua": "josh",
    "katherine": "kate katie kathy kat",
    "kimberly": "kim",
    "leonardo": "leo",
    "lillian": "lily lilly",
    "luis": "lucho",
    "madeline": "maddie maddy",
    "madison": "maddie",
    "manuel": "manny manolo",
    "margaret": "maggie meg peggy greta",
    "matthew": "matt matty",
    "maximiliano": "max",
    "mercedes": "meche",
    "michael": "mike mikey mick",
    "mohammed": "mohamed muhammad mohammad mo",
    "natalie": "nat",
    "nathaniel": "nate nathan",
    "nicholas": "nick nicky",
    "nicole": "nicki nikki",
    "olivia": "liv livvy",
    "patricia": "pat patty tricia",
    "patrick": "pat paddy",
    "rebecca": "becca becky",
    "ricardo": "rick ricky",
    "richard": "rick ricky rich dick",
    "robert": "rob robbie bob bobby",
    "roberto": "beto",
    "rosario": "chayo",
    "samantha": "sam sammy",
    "samuel": "sam sammy",
    "santiago": "santi",
    "sebastian": "seb bastian",
    "sophia": "sofia sophie",
    "stephanie": "steph",
    "stephen": "steve steven",
    "theodore": "theo ted teddy",
    "thomas": "tom tommy",
    "timothy": "tim timmy",
    "valentina": "val tina",
    "vanessa": "nessa",
    "victoria": "vicky tori",
    "vincent": "vince vinny",
    "william": "will willie bill billy liam",
    "zachary": "zach zack",
}
"""Full names with the short forms and spellings that stand for them, in small letters without
accents."""


def possible_full_names(name: str) -> frozenset[str]:
    """The name itself and every full name that it may be short for."""
    return _FULL_NAMES.get(name, frozenset()) | {name}


def _by_short_form() -> dict[str, frozenset[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for full, shorts in SHORT_FORMS.items():
        for short in shorts.split():
            found[short].add(full)
    return {short: frozenset(full) for short, full in found.items()}


_FULL_NAMES = _by_short_form()
