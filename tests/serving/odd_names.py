"""What people call their folders, and so their classes."""

ODD_NAMES = (
    "two words ",
    'naïve "quoted" <b>bold</b> & \\ back',
    "猫🐈‍⬛",
    "קטע בעברית 12",
    "x" * 255,
    "Straße\u202egnp.exe",
    "constructor",
    "__proto__",
    "two\nlines\ttab",
    "12",
    "100%",
    "$& ${x} {{y}}",
    "a:b,c;d",
)
