/** What is committed and could be generated is what would be generated; what stands in two places is the same. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { images } from "../../../bootstrap/embedded/src/images.ts";
import { moduleSource, prometheusOperator } from "../../src/render/go.ts";
import { checkout } from "../../src/repository.ts";
import { committed, dashboards } from "../dashboards/index.ts";

const monitoring = join(checkout, "gitops/platform/monitoring");

test("the dashboards are what `npm run dashboards` writes", () => {
  const files = readdirSync(join(checkout, committed)).filter((file) => file.endsWith(".json"));
  const generated = dashboards();
  expect(files.sort()).toEqual(Object.keys(generated).sort());
  for (const [name, text] of Object.entries(generated))
    expect(JSON.parse(readFileSync(join(checkout, committed, name), "utf8")), name).toEqual(JSON.parse(text));
});

test("the definitions are those of the pinned operator", async () => {
  const source = join(await moduleSource(checkout, prometheusOperator), "example/prometheus-operator-crd");
  const files = readdirSync(join(monitoring, "crds")).filter((file) => file !== "kustomization.yaml");
  expect(files).toContain("prometheuses.yaml");
  for (const file of files) {
    const theirs = readFileSync(join(source, `monitoring.coreos.com_${file}`), "utf8");
    expect(
      readFileSync(join(monitoring, "crds", file), "utf8") === theirs,
      `${file}: copy it from ${source}`,
    ).toBe(true);
  }
}, 300_000);

test("the versions are those of the images that the embedded cluster builds", async () => {
  const text = readFileSync(join(monitoring, "stack/embedded/versions.env"), "utf8");
  const versions = Object.fromEntries(
    text
      .trim()
      .split("\n")
      .map((line) => line.split("=")),
  );
  const tag = (name: string): string | Promise<string> | undefined =>
    images.find((image) => image.name === `quay.io/${name}`)?.tag();
  expect(versions).toEqual({
    ALERTMANAGER: await tag("prometheus/alertmanager"),
    NODE_EXPORTER: await tag("prometheus/node-exporter"),
    PROMETHEUS: await tag("prometheus/prometheus"),
    PROMETHEUS_OPERATOR: await tag("prometheus-operator/prometheus-operator"),
  });
});
