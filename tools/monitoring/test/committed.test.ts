/** What is committed and could be generated is what would be generated; what stands in two places is the same. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { images } from "../../../bootstrap/embedded/src/images.ts";
import { checkout } from "../../../lib/repository.ts";
import { committed, dashboards } from "../dashboards/index.ts";
import { definitions, withoutDescriptions } from "../definitions/index.ts";

const monitoring = join(checkout, "gitops/platform/monitoring");

test("the dashboards are what `npm run dashboards` writes", () => {
  const files = readdirSync(join(checkout, committed)).filter((file) => file.endsWith(".json"));
  const generated = dashboards();
  expect(files.sort()).toEqual(Object.keys(generated).sort());
  for (const [name, text] of Object.entries(generated))
    expect(JSON.parse(readFileSync(join(checkout, committed, name), "utf8")), name).toEqual(JSON.parse(text));
});

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
