"""Random small templates: expressions and statements put together from the language's parts, and
templates of others that were cut and joined."""

import random
import string

# For each kind of value, expressions that give one; {kind} stands for any expression of that kind.
RULES = {
    "text": """
        'a'|'äÖß'|''|'  pad '|'a,b,,c'|'x=1'|"it's"|'ΑΣ ΑΣ.'|'日本語'|'<b>&'|text|html|messages[-1].content
        messages[0].role|people[1].name|{text}.upper()|{text}.lower()|{text}.title()|{text}.capitalize()
        {text}.strip()|{text}.strip({text})|{text}.lstrip({text})|{text}.rstrip()|{text}.replace({text}, {text})
        {text}.replace('a', {text}, {number})|{text}.zfill(5)|{text}.ljust({number}, '.')|{text}.center(7)
        {text}.removeprefix('a')|{text}.removesuffix({text})|{text}.swapcase()|{text}.join({texts})
        {text}[{small}]|{text}[{small}:]|{text}[:{small}]|{text}[{small}:{small}]|{text}[::-1]
        {text}[{small}::2]|{text} + {text}|{text} ~ {any}|{text} * {small}|'%s-%s' % ({any}, {text})
        '{}{!r:>8}'.format({text}, {text})|'%5.2f' % {number}|{any}#string|{any}#tojson|{any}#tojson(indent=1)
        {any}#tojson(ensure_ascii=true, sort_keys=true)|{text}#capitalize|{text}#title|{text}#trim|{text}#trim('a')
        {text}#truncate(9)|{text}#truncate(5, true, '', 0)|{text}#indent|{text}#indent(2, true, true)
        {text}#replace('a', {text})|{text}#e|{text}#safe|{text}#center(9)|{text}#upper|{text}#lower
        {texts}#join|{list}#join('-')|{people}#join(',', attribute='name')|{text}#default({text})|{any}#upper
        {text}#first|{texts}#last|{text}#reverse|{texts}#min|{texts}#max|({text} if {truth} else {text})
        {text}#forceescape|'%s'#format({any})|{text} or {text}|{dict}.get({text}, {text})
    """,
    "number": """
        0|1|2|-1|7|2.5|0.1|-0.0|1e3|true|{number} + {number}|{number} - {number}|{number} * {number}
        {number} / {number}|{number} // {number}|{number} % {number}|{small} ** {small}|-{number}|+{number}
        {number}#abs|{number}#round|{number}#round({small})|{number}#round(1, 'floor')|{text}#int|{text}#int({number})
        '-3.5'#float|{number}#int|{number}#float|{any}#int(7)|{list}#length|{text}#length|{dict}#count
        {text}#wordcount|{numbers}#sum|{numbers}#min|{numbers}#max|people#sum(attribute='age')
        {text}.find({text})|{text}.rfind({text})|{text}.count({text})|{list}.count({any})|{list}.index({any})
        ({number} if {truth} else {number})|{number} and {number}|data.n|people[0].age|loop.index|loop.revindex0
    """,
    "small": "0|1|2|3|-1",
    "truth": """
        true|false|yes|{any} == {any}|{any} != {any}|{number} < {number}|{number} <= {number}|{text} > {text}
        {text} >= {text}|{text} in {text}|{any} in {list}|{text} not in {dict}|not {any}|{truth} and {truth}
        {truth} or {truth}|{text}.startswith({text})|{text}.endswith(('a', {text}))|{text}.isdigit()
        {text}.isalpha()|{text}.isupper()|{text}.islower()|{text}.isspace()|{text}.isalnum()|{any} is defined
        {any} is not none|{any} is string|{any} is number|{any} is integer|{any} is float|{any} is boolean
        {any} is mapping|{any} is sequence|{any} is iterable|{any} is callable|{any} is undefined|{any} is true
        {number} is odd|{number} is divisibleby 2|{any} is in {list}|{any} is eq({any})|{number} is gt {number}
        {text} is lower|{text} is escaped|{any} is sameas none|{list} < {list}|loop.last|loop.changed({any})
    """,
    "list": """
        []|[1, 2, 3]|(1,)|()|[[1, 2], [3]]|range(4)|messages|people|data.b|empty|{numbers}|{texts}|{pairs}
        [{any}, {any}]|({any}, {any})|{list} + {list}|{list}[{small}:]|{list}[::-1]|{list}[:{small}:2]
        {list} * {small}|{list}#list|{list}#reverse#list|{list}#unique#list|{list}#select#list|{text}#list
        {list}#reject('none')#list|{list}#batch(2)#list|{list}#batch(2, '-')#list|{list}#slice(2)#list
        {list}#map('string')#list|{list}#map('default', 1)#list|{any}#default([])|{dict}.values()#list
        {people}#selectattr('tags')#list|{people}#rejectattr('age', 'gt', 10)#list|{people}#groupby('age')
        {people}#sort(attribute='name')|{people}#map(attribute='home.city')#list|{people}#unique(attribute='age')#list
        {list}#map('tojson')#list|{list}.copy()|{list} or {list}|({list} if {truth} else {list})
    """,
    "numbers": """
        [3, 1, 2]|[1, 1.0, 0]|range(5)|[{number}, {number}]|{numbers}#sort|{numbers}#sort(reverse=true)
        {numbers}#map('abs')#list|{numbers}#select('odd')#list|{texts}#map('length')#list|people#map(attribute='age')#list
    """,
    "texts": """
        ['b', 'A', 'c']|[{text}, {text}]|{text}.split()|{text}.split(',')|{text}.split('a', 1)|{text}.rsplit(none, 1)
        {text}.splitlines()|{text}.partition(',')|{text}.rpartition('a')|{texts}#sort|{texts}#sort(case_sensitive=true)
        {texts}#map('upper')#list|{texts}#map('replace', 'a', '-')#list|{dict}#list|{texts}#unique#list|{dict}.keys()#list
        {people}#map(attribute='name')#list|messages#map(attribute='role')#list|{texts}#select('in', {texts})#list
    """,
    "pairs": "{dict}#dictsort|{dict}#items#list|{dict}.items()|{dict}#dictsort(true, 'key', true)|[[1, 2], 'ab']",
    "people": "people|people[:2]|{people}#sort(attribute='age,name')|{people}#reverse#list|{people}#selectattr('age', 'gt', 9)#list",
    "dict": """
        {}|{'k': 1}|{'b': 2, 'A': [1]}|data.a|people[0]|{'q': {any}, 'r': {any}}|dict(a={any})|messages[0]
        {dict}.copy()|dict({pairs})|dict({dict}, z={any})
    """,
    "any": """
        {text}|{text}|{number}|{number}|{truth}|{list}|{list}|{dict}|none|missing|nothing|data.missing|data|x|y|x
        {list}[{number}]|{dict}.k|{dict}['items']|{dict}['b']|{list}#first|{list}#last|{dict}.get({text})
        namespace(a={any}).a|({any} if {truth})|({any} if {truth} else {any})|{people}#max(attribute='age')|tree
        {any} or {any}|{any} and {any}|{any}#default({any})|{any}#default({any}, true)|loop.previtem|ns.x
    """,
}
WRONG = ["{any}.{}", "{any}#sort", "{any} + {any}", "{any}[{any}]", "{any}()", "{any}.pop()", "{any} < {any}", "{any}#join"]
BEGIN = ["{%", "{%", "{%-", "{%+"]
END = ["%}", "%}", "-%}", "+%}", "%}\n", "-%}\n  "]
TEXTS = ["a", " ", "\n", "\n  ", "x\n", "  \n\n", "{", "} ", "\u3000", "é", ""]
FILTERS = ["upper", "trim", "replace('a', 'b')", "title", "indent", "e", "truncate(5)", "length", "list"]
NAMES = ["x", "y"]


def alternatives(rules):
    """The expressions of a kind; a # is a |."""
    lines = [line.strip() for line in rules.strip().splitlines()]
    return [rule.replace("#", " | ") for line in lines for rule in line.split("|")]


class RandomTemplates:
    """Generates templates from a seed; `others` are templates to cut up."""

    def __init__(self, seed, others):
        self.random = random.Random(seed)
        self.others = others
        self.rules = {kind: alternatives(rules) for kind, rules in RULES.items()}
        self.simple = {
            kind: [rule for rule in rules if not self.parts(rule)] or rules
            for kind, rules in self.rules.items()
        }

    def sources(self, count):
        makers = [self.output, self.output, self.block, self.block, self.mixed]
        return [self.random.choice(makers)() for _ in range(count)]

    def pick(self, items):
        return self.random.choice(items)

    def chance(self, probability):
        return self.random.random() < probability

    def parts(self, rule):
        return [kind for kind in self.rules_of(rule) if kind]

    @staticmethod
    def rules_of(rule):
        """The {kind}s in a rule, in order."""
        return [
            rule[begin + 1 : rule.index("}", begin)]
            for begin in range(len(rule))
            if rule[begin] == "{" and rule[begin + 1 : rule.find("}", begin)] in RULES
        ]

    def expression(self, kind="any", depth=0):
        rules = self.simple if depth > 2 else self.rules
        rule = self.pick(rules[kind])
        if self.chance(0.01):
            rule = self.pick(WRONG).replace("{}", self.pick(string.ascii_lowercase))
        for part in self.rules_of(rule):
            inner = self.expression(part, depth + 1)
            if not (inner.isidentifier() or self.chance(0.1)):
                inner = f"({inner})"
            rule = rule.replace(f"{{{part}}}", inner, 1)
        return rule

    def output(self):
        values = [
            f"{{{{{self.pick(['', '-'])} {self.expression()} {self.pick(['', '-'])}}}}}"
            for _ in range(self.random.randint(1, 2))
        ]
        return self.pick(TEXTS).join(values)

    def tag(self, text):
        return f"{self.pick(BEGIN)} {text} {self.pick(END)}"

    def body(self, depth):
        parts = []
        for _ in range(self.random.randint(1, 3)):
            maker = self.pick([self.output, lambda: self.pick(TEXTS), lambda: self.block(depth + 1)])
            parts.append(maker())
        return "".join(parts)

    def block(self, depth=0):
        if depth > 2:
            return self.output()
        makers = [
            self.condition,
            self.loop,
            self.loop,
            self.assignment,
            self.set_block,
            self.macro,
            self.filter,
            self.scope,
            self.comment,
        ]
        return self.pick(makers)(depth)

    def condition(self, depth):
        text = self.tag(f"if {self.expression('truth', 1)}") + self.body(depth)
        if self.chance(0.3):
            text += self.tag(f"elif {self.expression('any', 1)}") + self.body(depth)
        if self.chance(0.5):
            text += self.tag("else") + self.body(depth)
        return text + self.tag("endif")

    def loop(self, depth):
        head, name = "", self.pick(NAMES)
        if self.chance(0.2):
            name = self.pick(["x, y", "(x, y)", "y, x"])
            head = f"for {name} in {self.expression('pairs', 1)}"
        else:
            head = f"for {name} in {self.expression('list', 1)}"
        if self.chance(0.3):
            head += f" if {self.expression('truth', 2)}"
        text = self.tag(head)
        if self.chance(0.3):
            jump = self.pick(["break", "continue"])
            text += self.tag(f"if {self.expression('truth', 2)}") + self.tag(jump) + self.tag("endif")
        text += self.body(depth) + self.pick(["", "{{ loop.index0 }}", "{{ loop.last }}{{ loop.length }}"])
        if self.chance(0.3):
            text += self.tag("else") + self.body(depth)
        return text + self.tag("endfor")

    def assignment(self, depth):
        kind = self.random.random()
        if kind < 0.6:
            text = self.tag(f"set {self.pick(NAMES)} = {self.expression('any', 1)}")
        elif kind < 0.8:
            text = self.tag(f"set x, y = {self.expression('any', 1)}, {self.expression('any', 1)}")
        else:
            text = self.tag("set ns = namespace(x=1)") + self.tag(f"set ns.x = {self.expression('any', 1)}")
        return text + self.body(depth) + "{{ x }}{{ y }}"

    def set_block(self, depth):
        name, filtered = self.pick(NAMES), f" | {self.pick(FILTERS)}" if self.chance(0.3) else ""
        body = self.body(depth)
        return self.tag(f"set {name}{filtered}") + body + self.tag("endset") + f"{{{{ {name} }}}}"

    def macro(self, depth):
        name = self.pick(NAMES)
        head = self.tag(f"macro m({name}, z={self.expression('any', 2)})")
        text = head + self.body(depth) + "{{ z }}" + self.tag("endmacro")
        arguments = self.pick(["{}", "{}, z=1", "{}, 2", "x={}", "y={}", "*[{}]", "**{{'y': {}}}"])
        return text + f"{{{{ m({arguments.format(self.expression('any', 2))}) }}}}"

    def filter(self, depth):
        return self.tag(f"filter {self.pick(FILTERS)}") + self.body(depth) + self.tag("endfilter")

    def scope(self, depth):
        if self.chance(0.5):
            return self.tag("generation") + self.body(depth) + self.tag("endgeneration") + "{{ x }}"
        head = self.tag(f"with {self.pick(NAMES)} = {self.expression('any', 1)}")
        return head + self.body(depth) + self.tag("endwith") + "{{ x }}{{ y }}"

    def comment(self, depth):
        text = self.pick(["{#", "{#-"]) + self.pick(TEXTS) + self.pick([" #}", " -#}", "+#}"])
        return text + self.body(depth)

    def mixed(self):
        """Two templates of others, each cut somewhere, joined."""
        first, second = self.pick(self.others), self.pick(self.others)
        return first[: self.random.randrange(len(first) + 1)] + second[self.random.randrange(len(second)) :]
