"""What a query means, said once more and naively: a look at every event. Nothing here is shared with the
server."""

import random

from annal_rpc import ID, POSITION, STREAM, TAGS, TYPE, event

STREAMS = (
    "Order-1", "Order-2", "Order-23", "Order", "Orders-1", "Invoice-1", "Invoice-10", "plain", "plaice",
    "Ärger-1", "x" * 500, "x" * 500 + "-1",
)
CATEGORIES = ("Order", "Orders", "Invoice", "plain", "plaice", "Ärger", "x" * 500)
TYPES = ("placed", "paid", "shipped", "returned", "t" * 255)
TAGS_GIVEN = ("red", "green", "blue", "user:1", "user:2", "user:3", "g" * 255)
PREFIXES = ("Order-", "Order-2", "Ord", "pla", "I", "x" * 450, "Invoice-10", "Ä")
NAMES = {"types": TYPES, "tags": TAGS_GIVEN, "categories": CATEGORIES, "streams": STREAMS}


def category_of(stream):
    return stream.split("-", 1)[0]


def item_matches(item, one):
    return (
        ("types" not in item or one[TYPE] in item["types"])
        and ("tags" not in item or all(tag in one[TAGS] for tag in item["tags"]))
        and ("categories" not in item or category_of(one[STREAM]) in item["categories"])
        and ("streams" not in item or one[STREAM] in item["streams"])
        and ("stream_prefix" not in item or one[STREAM].startswith(item["stream_prefix"]))
    )


def matches(query, one):
    if one[STREAM].startswith("$"):
        return False
    return query == "all" or any(item_matches(item, one) for item in query)


def positions(events):
    return [one[POSITION] for one in events]


class Source:
    """Random events and queries, the same for the same seed."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def event(self):
        tags = self.random.sample(TAGS_GIVEN, self.random.choice((0, 0, 1, 2, 4)))
        return event(type=self.random.choice(TYPES), data=self.random.randbytes(20), tags=tags)

    def writes(self):
        return [
            {"stream": stream, "events": [self.event() for _ in range(self.random.randint(1, 4))]}
            for stream in self.random.sample(STREAMS, self.random.randint(1, 3))
        ]

    def item(self):
        parts = self.random.sample(list(NAMES) + ["stream_prefix"], self.random.choice((1, 1, 2, 3)))
        item = {}
        for part in parts:
            if part == "stream_prefix":
                item[part] = self.random.choice(PREFIXES)
            else:
                # Now and then a name that nothing has.
                known = list(NAMES[part]) + ["nowhere"]
                item[part] = self.random.sample(known, self.random.choice((1, 1, 2)))
        return item

    def query(self):
        if self.random.random() < 0.05:
            return "all"
        return [self.item() for _ in range(self.random.choice((1, 1, 1, 2, 4)))]


class Log:
    """Every event of a cluster, in order, as a node gives them to one who asks for all."""

    def __init__(self):
        self.events = []
        self.sent = set()

    def follow(self, cluster, node):
        start = self.events[-1][POSITION] + 1 if self.events else 1
        self.events += cluster.read_all(node, start=start)
        return {one[ID] for one in self.events} >= self.sent

    def of(self, query):
        return [one for one in self.events if matches(query, one)]
