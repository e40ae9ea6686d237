"""The departments, aisles and products of a synthetic Instacart: invented words, with names as awkward as real ones.

Belongs here: everything in departments.csv, aisles.csv and products.csv. Not here: which products sell
(baskets.py).
"""

import csv
import io
from collections.abc import Iterable
from math import isqrt

from kpi_assets.samples.draws import Draws
from kpi_assets.samples.instacart.orders import FULL_ORDERS

FULL_PRODUCTS, FEWEST_PRODUCTS = 49_688, 400


def words(listed: str) -> tuple[str, ...]:
    """The words and phrases between commas."""
    return tuple(listed.split(", "))


# Each department with its aisles, of which there are 134 in all.
DEPARTMENTS = {
    "orchard and field": words(
        "stone fruit, loose apples, citrus crates, berries by weight, root vegetables, salad heads, garden herbs"
    ),
    "mill and oven": words("sourdough loaves, seeded rolls, flat breads, morning pastries, layer cakes, rusks"),
    "churn room": words(
        "whole milk bottles, cultured yogurt pots, salted butter, farmhouse cheddar, soft goat cheese, farm egg trays, "
        "oat drinks"
    ),
    "fish counter": words(
        "smoked salmon sides, white fish fillets, mussels and clams, pickled herring, fish cakes, sea greens"
    ),
    "butcher block": words(
        "minced beef, chicken thighs, pork sausages, lamb cuts, cold roast slices, bone broth bases"
    ),
    "ice house": words(
        "frozen peas and beans, frozen dumplings, fruit sorbets, ice cream tubs, oven chips, frozen pizza rounds, "
        "smoothie packs"
    ),
    "grain loft": words("rolled oats, basmati sacks, pearl barley, couscous and bulgur, puffed cereals, baking flours"),
    "pasta bench": words("egg tagliatelle, durum spaghetti, rice vermicelli, gnocchi, tomato sugo, pesto jars"),
    "tins and jars": words(
        "chopped tomatoes in tins, chickpeas in tins, tuna in olive oil, gherkin jars, fruit halves in juice, "
        "soup tins, olives in brine"
    ),
    "spice drawer": words(
        "ground spices, whole peppercorns, sea salt flakes, curry pastes, vinegar bottles, cold pressed oils, "
        "table mustards"
    ),
    "sweet corner": words("dark chocolate bars, fruit gums, butter biscuits, honey jars, berry jams, nougat and halva"),
    "crunch shelf": words(
        "kettle chips, salted nuts, rice crackers, popping corn, pretzel twists, trail mixes, seaweed crisps"
    ),
    "tea and roast": words(
        "whole bean roasts, ground espresso, black leaf teas, herbal infusions, cocoa powders, malt drinks"
    ),
    "fountain": words(
        "still spring water, sparkling water, orange juices, ginger brews, iced leaf teas, syrups for dilution, "
        "kombucha bottles"
    ),
    "cellar": words("dry white wines, full red wines, wheat beers, farm ciders, alcohol free brews, apple brandies"),
    "world pantry": words(
        "miso and tamari, corn tortillas, coconut cream, kimchi pots, harissa and tahini, noodle bowls"
    ),
    "nursery": words(
        "first porridges, fruit purees for infants, nappies by size, infant wipes, teething rusks, infant bath foam"
    ),
    "paws and feathers": words(
        "kibble for dogs, pouches for cats, bird seed, hay for rabbits, chew sticks, litter sacks"
    ),
    "wash house": words(
        "laundry powders, dish tablets, all purpose sprays, sponge packs, bin liners, paper rolls, candles and matches"
    ),
    "bath shelf": words(
        "bar soaps, mint toothpastes, hair washes, shaving creams, hand balms, cotton pads, plasters and gauze"
    ),
    "odds and ends": words("party plates, baking tins, light bulbs, notebooks and pens, jam jar lids"),
}
# As many brands as adjectives: see `products`.
BRANDS = words(
    "Harrow Lane, Old Quay, Bramblewick, Tin Rooster, Northmere, Three Gables, Saltmarsh, Copper Kettle, Fernhollow, "
    "Blue Wheelbarrow, Larkfield, Stonebridge Row, Amberly, Wandering Goat, Hearth & Hill, Pebble Cove, Marlowe's, "
    "Thistledown, Quill & Barrow, Red Lantern, Oakenshaw, Sundial, Millrace, Green Ferry, Winterbourne, "
    "Little Anvil, Drumlin, Foxglove Yard, Kestrel, Nine Elms, Paper Boat, Ropewalk, Silverweed, Tallow & Rye, "
    "Umberfold, Wagtail"
)
ADJECTIVES = words(
    "Classic, Rustic, Golden, Stoneground, Slow Made, Organic, Everyday, Heritage, Lightly Salted, Unsweetened, "
    "Extra Fine, Small Batch, Family Size, Village, Double, Wild, Mellow, Hearty, Crisp, Sun Dried, Toasted, "
    "Old Fashioned, Creamy, Smoky, Tender, Bold, Low Sodium, Winter, Harvest, Free Range, Plain, Spiced, Zesty, "
    "Velvet, Coarse, Single Origin"
)
VARIANTS = words("Unsalted, Family Pack, Mild, 12 Count, Twin Pack, No Added Sugar")
FOREIGN = words("with Jalapeño, Crème Brûlée, Façon Rosé, Smörgås Style, from Łódź, Piñata™, à la Café")


def product_count(orders: int) -> int:
    """How many products a shop with this many orders has: the real number at full size, fewer in a small one."""
    return max(FEWEST_PRODUCTS, min(FULL_PRODUCTS, isqrt(FULL_PRODUCTS**2 * orders // FULL_ORDERS)))


def departments() -> list[tuple[int, str]]:
    """The rows of departments.csv."""
    return list(enumerate(DEPARTMENTS, start=1))


def aisles() -> list[tuple[int, str, int]]:
    """The rows of aisles.csv, each with its department_id behind it."""
    named = [(name, department) for department, names in enumerate(DEPARTMENTS.values(), 1) for name in names]
    return [(number, name, department) for number, (name, department) in enumerate(named, start=1)]


def products(count: int, draws: Draws) -> list[tuple[int, str, int, int]]:
    """The rows of products.csv: `count` products of different names, at most 100,000, in large and small aisles."""
    shelves = aisles()
    stocked = [0] * len(shelves)
    rows = []
    for number, draw in enumerate(draws.uint64(count).tolist(), start=1):
        # The lower of two aisles: the first have most products, and the last few.
        shelf = min(draw % len(shelves), (draw >> 32) % len(shelves))
        aisle_id, aisle, department_id = shelves[shelf]
        turn, place = divmod(stocked[shelf], len(BRANDS))
        stocked[shelf] += 1
        # Within an aisle each turn pairs the brands with the adjectives one further on: no pair comes twice.
        brand = BRANDS[(place + shelf) % len(BRANDS)]
        adjective = ADJECTIVES[(place + shelf + turn) % len(ADJECTIVES)]
        rows.append((number, product_name(number, brand, adjective, aisle.title()), aisle_id, department_id))
    return rows


def product_name(number: int, brand: str, adjective: str, kind: str) -> str:
    """A plain name; for some numbers with commas, quotes, backslashes before quotes, or letters beyond ASCII."""
    if number % 400 == 50:
        return f'{brand} {adjective} {kind}, 9\\"x13\\"'
    if number % 400 == 150:
        return f'\\"{brand}\\" {adjective} {kind}'
    if number % 400 == 250:
        return f'{brand} "{adjective}" {kind}'
    if number % 160 == 7:
        return f"{brand} {adjective} {kind} {FOREIGN[number // 160 % len(FOREIGN)]}"
    if number % 16 == 3:
        return f"{brand} {adjective} {kind}, {VARIANTS[number // 16 % len(VARIANTS)]}"
    return f"{brand} {adjective} {kind}"


def csv_records(rows: Iterable[tuple[int | str, ...]]) -> list[bytes]:
    """Rows as CSV records without their line feeds, quoted only where it is needed."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode().split(b"\n")[:-1]
