// @module-tag slow
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeObject } from "../../lib/object.ts";
import { TestCache } from "../../lib/test/cache.ts";
import { MutableCluster } from "../mutations/cluster.ts";
import { type Mutation, mutate } from "../mutations/mutations.ts";
import { isStricter, stricter } from "../mutations/stricter.ts";
import { rules } from "../src/rules/index.ts";
import { fixtures, Sample } from "./corpus.ts";

/**
 * What the API server of the embedded platform said of mistakes in the sample's objects, istiod's webhook included:
 * `npm run bench:mutations -- --seed 17 --count 700 --record tools/test/fixtures/mutations.json`.
 */
type Recorded = Mutation & { object: string; refused: boolean };
const recorded = JSON.parse(readFileSync(join(fixtures, "mutations.json"), "utf8")) as Recorded[];

let sample: Sample;
let tried: (Recorded & { findings: string[] })[];
beforeAll(async () => {
  sample = await Sample.of("shop");
  const cluster = await MutableCluster.of(sample.directory, "one", new TestCache(undefined));
  const manifests = new Map(cluster.manifests.map((manifest) => [describeObject(manifest.object), manifest]));
  tried = [];
  for (const mistake of recorded) {
    const manifest = manifests.get(mistake.object);
    if (!manifest) throw new Error(`the sample has no ${mistake.object}: record the verdicts anew`);
    const findings = await cluster.findings(manifest, mutate(manifest.object, mistake));
    tried.push({ ...mistake, findings });
  }
}, 900_000);
afterAll(() => sample.remove());

const shown = ({ object, kind, path, value }: Recorded): string =>
  `${kind}: ${object} ${path.join(".")} = ${JSON.stringify(value)}`;

// Each one: a share of them, such as 95 %, would leave room for a rule that finds nothing any more.
test("what a server refuses is found", () => {
  const refused = tried.filter((mistake) => mistake.refused);
  const missed = refused.filter(({ findings }) => findings.length === 0);
  expect(refused.length).toBeGreaterThan(200);
  expect(missed.map(shown)).toEqual([]);
});

test("what a server accepts is found only by what is stricter on purpose", () => {
  const accepted = tried.filter((mistake) => !mistake.refused);
  expect(accepted.length).toBeGreaterThan(200);
  const wrong = accepted.flatMap((mistake) =>
    mistake.findings
      .filter((finding) => !isStricter(finding))
      .map((finding) => `${shown(mistake)}: ${finding}`),
  );
  expect(wrong).toEqual([]);
});

test("every rule that is stricter on purpose is a rule", () => {
  const known = rules.map(({ id }) => id);
  for (const { rule } of stricter) expect(known).toContain(rule);
});
