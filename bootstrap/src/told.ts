/** An error of which a person has read everything already: nothing more is printed of it. */
export class Told extends Error {}
