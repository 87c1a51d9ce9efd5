/** What a dashboard shows, said once; grafana.ts and perses.ts draw it. */

/** Units, as Grafana names them. */
export type Unit = "none" | "s" | "reqps" | "ops" | "percentunit" | "bytes";

interface Titled {
  title: string;
  description: string;
  unit: Unit;
}

/** A graph; three fit into a row. */
export interface Graph extends Titled {
  kind: "graph";
  /** Expressions by the legend of their series. */
  queries: Record<string, string>;
}

/** A number; six fit into a row. */
export interface Figure extends Titled {
  kind: "figure";
  expression: string;
}

export type Panel = Graph | Figure;

export interface Row {
  /** Missing for the first row, which needs none. */
  title?: string;
  panels: Panel[];
}

export interface Dashboard {
  /** Of its file, and in its address. */
  name: string;
  title: string;
  rows: Row[];
}

/** Describes a graph. */
export const graph = (
  title: string,
  description: string,
  unit: Unit,
  queries: Record<string, string>,
): Graph => ({ kind: "graph", title, description, unit, queries });

/** Describes a number. */
export const figure = (title: string, description: string, unit: Unit, expression: string): Figure => ({
  kind: "figure",
  title,
  description,
  unit,
  expression,
});
