"""Pages as tests read them."""

from html.parser import HTMLParser

VOID = {"meta", "img", "source", "link", "br"}


class Page(HTMLParser):
    """The elements of a page, and its text; every element must be closed where it should."""

    def __init__(self, data):
        super().__init__()
        self.open, self.found, self.words = [], [], []
        self.feed(data.decode())
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())
