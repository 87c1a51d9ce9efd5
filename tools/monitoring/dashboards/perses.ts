/** Draws a dashboard for Perses, whose page the embedded cluster serves. */
import { type Dashboard, linesLink, type Panel, type Unit } from "./description.ts";

const columns = 24;
const sizes = { figure: { width: 4, height: 4 }, graph: { width: 8, height: 8 } };
const units: Record<Unit, string> = {
  none: "decimal",
  s: "seconds",
  reqps: "requests/sec",
  ops: "ops/sec",
  percentunit: "percent-decimal",
  bytes: "bytes",
};

const query = (expression: string, legend: string): object => ({
  kind: "TimeSeriesQuery",
  spec: {
    plugin: {
      kind: "PrometheusTimeSeriesQuery",
      spec: { query: expression, ...(legend === "" ? {} : { seriesNameFormat: legend }) },
    },
  },
});

function draw(panel: Panel): object {
  const { title, description, unit } = panel;
  const format = { unit: units[unit], shortValues: unit === "none" || unit === "bytes" };
  const [plugin, queries] =
    panel.kind === "figure"
      ? [{ kind: "StatChart", spec: { calculation: "last", format } }, [query(panel.expression, "")]]
      : [
          {
            kind: "TimeSeriesChart",
            spec: {
              // A second line of a legend below the graph would be cut off.
              legend: { position: "right", mode: "table", size: "small", values: ["last"] },
              yAxis: { min: 0, format },
              visual: { areaOpacity: 0.1, connectNulls: false },
            },
          },
          Object.entries(panel.queries).map(([legend, expression]) => query(expression, legend)),
        ];
  const link = linesLink(panel);
  const links = link ? { links: [{ name: link.title, url: link.url, targetBlank: true }] } : {};
  return { kind: "Panel", spec: { display: { name: title, description }, plugin, queries, ...links } };
}

/** Returns a dashboard as Perses reads it. */
export function perses({ name, title, rows }: Dashboard): object {
  const panels: Record<string, object> = {};
  const layouts = rows.map((row, index) => {
    let [x, y, height] = [0, 0, 0];
    const items = row.panels.map((panel, place) => {
      const size = sizes[panel.kind];
      if (x + size.width > columns) [x, y, height] = [0, y + height, 0];
      const key = `${index}_${place}`;
      panels[key] = draw(panel);
      const item = { x, y, ...size, content: { $ref: `#/spec/panels/${key}` } };
      [x, height] = [x + size.width, Math.max(height, size.height)];
      return item;
    });
    const display =
      row.title === undefined ? {} : { display: { title: row.title, collapse: { open: true } } };
    return { kind: "Grid", spec: { ...display, items } };
  });
  return {
    kind: "Dashboard",
    metadata: { name, project: "logging-platform" },
    spec: {
      display: { name: title },
      duration: "1h",
      refreshInterval: "30s",
      variables: [],
      layouts,
      panels,
    },
  };
}
