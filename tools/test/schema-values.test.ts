/** Values that the API server, istiod, Argo CD and Prometheus refuse or misread, and odd ones that they take: class by class. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "js-yaml";
import { beforeAll, describe, expect, test } from "vitest";
import type { KubernetesObject } from "../../lib/object.ts";
import { checkout } from "../../lib/repository.ts";
import { metricsOf } from "../src/rules/metrics.ts";
import { platformValidator } from "../src/schema/sources.ts";
import type { Validator } from "../src/schema/validator.ts";
import { fixtures } from "./corpus.ts";

interface Kinds {
  /** A right object of each kind, by a short name. */
  objects: Record<string, KubernetesObject>;
  refused: Record<string, Attempt[]>;
  taken: Record<string, Attempt[]>;
}

/** A field of an object, as a path with dots, and what is written there instead; no value takes the field away. */
type Attempt = [object: string, path: string, value?: unknown];

const kinds = load(readFileSync(join(fixtures, "values.yaml"), "utf8")) as Kinds;
let validator: Validator;
beforeAll(async () => {
  validator = await platformValidator(checkout);
}, 900_000);

function attempted([name, path, value]: Attempt): KubernetesObject {
  const object = structuredClone(kinds.objects[name]);
  if (!object) throw new Error(`there is no object ${name}`);
  const fields = path.split(".");
  const last = fields.pop() ?? "";
  let at = object as unknown as Record<string, unknown>;
  for (const field of fields) {
    at[field] ??= {};
    at = at[field] as Record<string, unknown>;
  }
  if (value === undefined) delete at[last];
  else at[last] = value;
  return object;
}

const saidOf = (attempt: Attempt): string[] =>
  validator.check(attempted(attempt)).map(({ path, message }) => `${path.join(".")}: ${message}`);

test("the objects themselves are right", () => {
  for (const [name, object] of Object.entries(kinds.objects))
    expect([name, validator.check(object)]).toEqual([name, []]);
});

describe("is refused:", () => {
  test.each(Object.entries(kinds.refused))("%s", (_, attempts) => {
    expect(attempts.filter((attempt) => saidOf(attempt).length === 0)).toEqual([]);
  });
});

describe("is taken:", () => {
  test.each(Object.entries(kinds.taken))("%s", (_, attempts) => {
    expect(attempts.map((attempt) => [attempt, saidOf(attempt)])).toEqual(
      attempts.map((attempt) => [attempt, []]),
    );
  });
});

describe("PromQL", () => {
  const flawOf = (expression: string): unknown => {
    const { error, flaw } = metricsOf(expression, true);
    return error ?? flaw;
  };

  test.each([
    ...["rate(up)", "rate(up[5m])[5m]", "max_over_time(sum(up))", "sum(up[5m])", "abs(up[5m])", "sum(1)"],
    ...["up and 1", "1 or up", "1 == 2", 'up + "a"', "up[5m] > 1", "up[5m]", '"a"', "rate(1[5m])"],
    ...["{}", '{job=~".*"}', '{job!="a"}', '{job=""}', 'up{job=~"("}', 'up{job!~"a(?!b)"}'],
  ])("%s is refused", (expression) => {
    expect(flawOf(expression)).toBeDefined();
  });

  test.each([
    ...["rate(up[5m] offset 1w)", "rate((up[5m]))", "max_over_time(sum(up)[1h:5m])", "rate(up[5m:])", "-up"],
    ...["absent_over_time(up[1h])", "quantile_over_time(0.9, up[5m])", "predict_linear(up[1h], 3600) < 0"],
    ...[
      "1 == bool 2",
      "time() - 5 > bool 3 + scalar(up)",
      "vector(1) or up",
      "sum by (job) (up) / on (job) up",
    ],
    ...['{__name__=~"istio_.+"}', '{job!=""}', '{job=~".+"}', 'count_values("v", up)', "up @ end()"],
    ...['label_replace(up, "a", "$1", "b", "(.*)")', "topk(3, up)", 'up{a=~"a\\\\.b"}', "day_of_week() == 1"],
  ])("%s is taken", (expression) => {
    expect(flawOf(expression)).toBeUndefined();
  });
});
