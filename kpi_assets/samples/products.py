"""What the products of the sample shops are called."""

CATEGORIES = {
    "Audio": "Headphones, Turntable, Speaker, Radio, Microphone",
    "Books": "Atlas, Cookbook, Novel, Field Guide, Almanac",
    "Clothing": "Scarf, Raincoat, Jumper, Cap, Gloves",
    "Garden": "Watering Can, Spade, Bird House, Hammock, Lantern",
    "Kitchen": "Kettle, Pan, Knife, Coffee Mill, Bowl",
    "Office": "Desk Lamp, Notebook, Fountain Pen, Chair, Stapler",
    "Sports": "Yoga Mat, Rope, Bottle, Racket, Backpack",
    "Toys": "Train, Puzzle, Kite, Marbles, Castle",
}
BRANDS = ("Alder & Sons", "Björk", "Copperfield", "Daybreak", "Eichhorn", 'Fox "27"', "Grey Harbour", "Hôtel du Nord")
