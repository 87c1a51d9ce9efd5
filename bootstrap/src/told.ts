/** An error that has been printed already: nothing more is printed about it. */
export class Told extends Error {}
