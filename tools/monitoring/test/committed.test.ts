/** What is committed and could be generated is what would be generated; what stands in two places is the same. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { images } from "../../../bootstrap/embedded/src/images.ts";
import { checkout } from "../../../lib/repository.ts";
import { grafana } from "../dashboards/grafana.ts";
import { committed, dashboards, descriptions } from "../dashboards/index.ts";
import { perses } from "../dashboards/perses.ts";
import { definitions, withoutDescriptions } from "../definitions/index.ts";

const monitoring = join(checkout, "gitops/platform/monitoring");

test("the dashboards are what `npm run dashboards` writes, for Grafana and for Perses", () => {
  const generated = dashboards();
  const files = Object.values(committed).flatMap(({ folder }) =>
    readdirSync(join(checkout, folder))
      .filter((file) => file.endsWith(".json"))
      .map((file) => `${folder}/${file}`),
  );
  expect(files.sort()).toEqual(Object.keys(generated).sort());
  for (const [file, text] of Object.entries(generated))
    expect(JSON.parse(readFileSync(join(checkout, file), "utf8")), file).toEqual(JSON.parse(text));
});

test("Grafana and Perses are given the same panels with the same expressions", () => {
  for (const description of descriptions) {
    const panels = description.rows.flatMap((row) => row.panels);
    const expected = panels.map((panel) => [
      panel.title,
      ...(panel.kind === "figure" ? [panel.expression] : Object.values(panel.queries)),
    ]);
    const drawn = JSON.parse(JSON.stringify([grafana(description), perses(description)])) as [
      { panels: { type: string; title: string; targets?: { expr: string }[] }[] },
      {
        spec: {
          layouts: { spec: { items: { content: { $ref: string } }[] } }[];
          panels: Record<string, Drawn>;
        };
      },
    ];
    const ofGrafana = drawn[0].panels.filter(({ type }) => type !== "row");
    expect(ofGrafana.map(({ title, targets = [] }) => [title, ...targets.map(({ expr }) => expr)])).toEqual(
      expected,
    );
    const { layouts, panels: ofPerses } = drawn[1].spec;
    const keys = layouts.flatMap(({ spec }) =>
      spec.items.map(({ content }) => content.$ref.split("/").at(-1) ?? ""),
    );
    expect(
      keys.map((key) => [
        ofPerses[key]?.spec.display.name,
        ...(ofPerses[key]?.spec.queries ?? []).map(({ spec }) => spec.plugin.spec.query),
      ]),
    ).toEqual(expected);
  }
});

interface Drawn {
  spec: { display: { name: string }; queries: { spec: { plugin: { spec: { query: string } } } }[] };
}

test("the definitions are what `npm run definitions` writes", async () => {
  const generated = await definitions();
  expect(Object.keys(generated)).toContain("prometheuses.yaml");
  for (const [file, text] of Object.entries(generated))
    expect(readFileSync(join(monitoring, "crds", file), "utf8") === text, file).toBe(true);
}, 300_000);

test("a description is left out, a property of that name is not", () => {
  const schema = {
    description: "all",
    properties: { description: { type: "string", description: "its own" }, properties: { description: "x" } },
    items: [{ description: "one", type: "object" }],
  };
  expect(withoutDescriptions(schema)).toEqual({
    properties: { description: { type: "string" }, properties: {} },
    items: [{ type: "object" }],
  });
});

test("the alert on etcd's room knows the quota that etcd is started with", () => {
  const started = readFileSync(join(checkout, "bootstrap/embedded/src/controlplane.ts"), "utf8");
  const [, gibibytes = ""] = /"quota-backend-bytes": String\((\d+) \* 1024 \*\* 3\)/.exec(started) ?? [];
  const rules = readFileSync(
    join(monitoring, "stack/embedded/rules/prometheusrule-control-plane.yaml"),
    "utf8",
  );
  expect(rules).toContain(
    `apiserver_storage_size_bytes{job="apiserver"}) / ${Number(gibibytes) * 1024 ** 3} >`,
  );
});

test("the versions are those of the images that the embedded cluster builds", async () => {
  const text = readFileSync(join(monitoring, "stack/embedded/versions.env"), "utf8");
  const versions = Object.fromEntries(
    text
      .trim()
      .split("\n")
      .map((line) => line.split("=")),
  );
  const tag = (name: string): string | Promise<string> | undefined =>
    images.find((image) => image.name === name)?.tag();
  expect(versions).toEqual({
    ALERTMANAGER: await tag("quay.io/prometheus/alertmanager"),
    DASHBOARDS: await tag("docker.io/logging-platform/dashboards"),
    KUBE_STATE_METRICS: await tag("registry.k8s.io/kube-state-metrics/kube-state-metrics"),
    NODE_EXPORTER: await tag("quay.io/prometheus/node-exporter"),
    PROMETHEUS: await tag("quay.io/prometheus/prometheus"),
    PROMETHEUS_OPERATOR: await tag("quay.io/prometheus-operator/prometheus-operator"),
  });
});
