"""`keras-hourglass recipes`."""


def add_arguments(parser):
    parser.add_argument("name", nargs="?", help="the recipe to show (default: list all)")


def run(args):
    from keras_hourglass.training.recipe import recipe_text, recipe_titles

    if args.name is not None:
        print(recipe_text(args.name), end="")
        return
    titles = recipe_titles()
    width = max(map(len, titles))
    for name, title in titles.items():
        print(f"{name:{width}}  {title}")
    print("\nShow one: keras-hourglass recipes NAME   Train: keras-hourglass train NAME --out DIR")
