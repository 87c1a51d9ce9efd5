/** Draws a dashboard for Grafana, which existing clusters have. */
import {
  DashboardBuilder,
  DashboardLinkBuilder,
  DashboardLinkType,
  type Dashboard as Drawn,
  RowBuilder,
} from "@grafana/grafana-foundation-sdk/dashboard";
import { DataqueryBuilder } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as Stat } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as Timeseries } from "@grafana/grafana-foundation-sdk/timeseries";
import { type Dashboard, linesLink, type Panel } from "./description.ts";

const targets = (queries: Record<string, string>): DataqueryBuilder[] =>
  Object.entries(queries).map(([legend, expression], index) =>
    new DataqueryBuilder()
      .refId(String.fromCharCode("A".charCodeAt(0) + index))
      .expr(expression)
      .legendFormat(legend),
  );

function draw(panel: Panel): Timeseries | Stat {
  const { title, description, unit } = panel;
  if (panel.kind === "figure") {
    const [target] = targets({ "": panel.expression });
    const stat = new Stat().title(title).description(description).unit(unit).span(4).height(4);
    return target ? stat.withTarget(target.instant()) : stat;
  }
  const series = new Timeseries().title(title).description(description).unit(unit).min(0).span(8).height(7);
  const link = linesLink(panel);
  if (link)
    series.links([
      new DashboardLinkBuilder(link.title).type(DashboardLinkType.Link).url(link.url).targetBlank(true),
    ]);
  return targets(panel.queries).reduce((built, target) => built.withTarget(target), series);
}

/** Returns a dashboard as Grafana reads it. */
export function grafana({ name, title, rows }: Dashboard): Drawn {
  const builder = new DashboardBuilder(title)
    .uid(name === "platform" ? "logging-platform" : `logging-platform-${name}`)
    .tags(["generated"])
    .refresh("30s")
    .time({ from: "now-1h", to: "now" })
    .timezone("utc");
  for (const row of rows) {
    if (row.title !== undefined) builder.withRow(new RowBuilder(row.title));
    for (const panel of row.panels) builder.withPanel(draw(panel));
  }
  return builder.build();
}
