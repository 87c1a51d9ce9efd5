import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cache } from "../../lib/render/cache.ts";
import { checkout } from "../../lib/repository.ts";
import { TestCache } from "../../lib/test/cache.ts";
import { slow, sweep } from "../../lib/test/long.ts";
import { formatFindings } from "../src/finding.ts";
import { rules } from "../src/rules/index.ts";
import { validate } from "../src/validate.ts";
import { cases, Sample } from "./corpus.ts";

// On a fresh machine this is where Go fetches Kubernetes' and Istio's sources and compiles kustomize.
const coldStart = 900_000;
const kept = mkdtempSync(join(tmpdir(), "cache-"));
let sample: Sample;

const findings = async (directory: string, cache: Cache = new TestCache(kept)): Promise<string[]> =>
  (await validate(directory, { cache })).findings.map((finding) => formatFindings([finding]));

beforeAll(async () => {
  sample = await Sample.of("shop");
}, coldStart);
afterAll(() => {
  sample.remove();
  rmSync(kept, { recursive: true, force: true });
});

describe("a repository that is right", () => {
  test(
    "has no findings: the sample",
    async () => {
      expect(await findings(sample.directory)).toEqual([]);
    },
    coldStart,
  );

  test("has no findings: this one", { ...slow, timeout: coldStart }, async () => {
    const { findings, applications, objects } = await validate(checkout);
    expect(formatFindings(findings)).toBe("");
    expect(applications).toBeGreaterThanOrEqual(2);
    expect(objects).toBeGreaterThan(50);
  });
});

test("every rule has a mistake that it finds", () => {
  expect(
    cases()
      .map(({ rule }) => rule)
      .sort(),
  ).toEqual(rules.map(({ id }) => id).sort());
});

describe.each(cases())("$rule", ({ rule, found }) => {
  sweep(found, 1)("finds $title", async (mistake) => {
    try {
      await sample.breakBy(mistake);
      expect(mistake.findings.some((finding) => finding.endsWith(`[${rule}]`))).toBe(true);
      expect(await findings(sample.directory)).toEqual(mistake.findings);
    } finally {
      await sample.restore();
    }
  });
});

test("what is found is the same with and without what earlier runs left", slow, async () => {
  const mistake = cases().find(({ rule }) => rule === "port-exists")?.found[0];
  if (!mistake) throw new Error("no case for port-exists");
  try {
    await sample.breakBy(mistake);
    const anew = await findings(sample.directory, new Cache(undefined));
    expect(anew).toEqual(mistake.findings);
    expect(await findings(sample.directory)).toEqual(anew);
    expect(await findings(sample.directory)).toEqual(anew);
  } finally {
    await sample.restore();
  }
  expect(await findings(sample.directory)).toEqual([]);
});
