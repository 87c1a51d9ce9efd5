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
  /** LogsQL that finds the lines which the graph counts. */
  lines?: string;
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
  lines?: string,
): Graph => ({ kind: "graph", title, description, unit, queries, ...(lines === undefined ? {} : { lines }) });

/** Where a graph leads to its lines: the search page's address on the machine that the pages are looked at from. */
export function linesLink({ kind, ...panel }: Panel): { title: string; url: string } | undefined {
  if (kind !== "graph" || !("lines" in panel) || panel.lines === undefined) return undefined;
  const query = `query=${encodeURIComponent(panel.lines)}&g0.range_input=1h&g0.relative_time=last_1_hour`;
  return { title: "Its lines", url: `http://127.0.0.1:9428/select/vmui/#/?${query}` };
}

/** Describes a number. */
export const figure = (title: string, description: string, unit: Unit, expression: string): Figure => ({
  kind: "figure",
  title,
  description,
  unit,
  expression,
});
