import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { configurationAt, parseConfiguration, presets, WrongConfiguration } from "../configuration.ts";
import type { Failure } from "../failure.ts";
import schema from "../gitops.schema.json" with { type: "json" };
import { checkout } from "../repository.ts";

const ours = readFileSync(join(checkout, "gitops.yaml"), "utf8");
const refusal = (text: string): string => {
  try {
    parseConfiguration(text);
  } catch (error) {
    expect(error).toBeInstanceOf(WrongConfiguration);
    return `${(error as Failure).message}; ${(error as Failure).next}`;
  }
  return "taken";
};

describe("a gitops.yaml", () => {
  test.each([
    ["that is not there", undefined],
    ["that is empty", ""],
    ["of comments only", "# nothing\n"],
  ])("%s means that Argo CD's rules hold and nothing is known of the layout", (_, text) => {
    expect(parseConfiguration(text)).toEqual({
      preset: "argocd",
      repository: [],
      ignore: [],
      clusters: [],
      rules: {},
    });
  });

  test("of this repository has a layout, and every field of one", () => {
    expect(configurationAt(checkout)).toMatchObject({
      preset: "platform",
      layout: { clusters: "gitops/clusters" },
    });
    for (const field of ["clusters", "source", "root", "rendered", "versions", "services", "examples"])
      expect(refusal(ours.replace(new RegExp(`^  ${field}: .*\n`, "m"), ""))).toBe(
        `gitops.yaml: layout.${field} is missing; add ${field}`,
      );
  });

  test.each([
    ["presett: argocd", "there is no field presett; write preset"],
    ["zebra: 1", "there is no field zebra; write one of preset, repository, ignore, clusters, rules, layout"],
    ["preset: mine", 'preset is "mine"; write one of argocd, platform'],
    [
      "repository: https://git.example/r",
      "repository is no list of texts; write one text a line, each after a dash",
    ],
    ["ignore: [1]", "ignore is no list of texts; write one text a line, each after a dash"],
    ["rules: [schema]", "rules is no mapping; docs/gitops-tool.md lists the fields"],
    ["rules: {schema: {on: no}}", "rules.schema.on is no boolean; write true or false"],
    ["rules: {schema: {on: false}}", "rules.schema.reason is missing; add reason"],
    ["rules: {schema: {on: false, reason: ''}}", "rules.schema.reason is no text; write a text"],
    ["rules: {schema: {on: false, why: a}}", "there is no field rules.schema.why; write one of on, reason"],
    ["clusters: {name: a}", "clusters is no list; docs/gitops-tool.md lists the fields"],
    ["clusters: [{name: a}]", "clusters[].server is missing; add server"],
    ["clusters: [{name: a, server: b, labels: {c: 1}}]", "clusters[].labels.c is no text; write a text"],
    ["clusters: [a]", "clusters[] is no mapping; docs/gitops-tool.md lists the fields"],
    ["clusters: [{name: a, server: b, labels: {1: 2}}]", "clusters[].labels.1 is no text; write a text"],
    ["rules: {a/b~c: {on: 1}}", "rules.a/b~c.on is no boolean; write true or false"],
    ["layout: {cluster: a}", "there is no field layout.cluster; write clusters"],
    ["- preset", "the file is no mapping; docs/gitops-tool.md lists the fields"],
  ])("is refused: %s", (text, said) => {
    expect(refusal(text)).toBe(`gitops.yaml: ${said}`);
  });

  test("that is no YAML is refused", () => {
    expect(refusal("preset: [")).toMatch(/^gitops\.yaml: .+; correct it$/);
  });
});

describe("the schema of gitops.yaml", () => {
  test("is the one that the file names for editors", () => {
    const [, named = ""] = /^# yaml-language-server: \$schema=(.*)$/m.exec(ours) ?? [];
    expect(JSON.parse(readFileSync(join(checkout, named), "utf8"))).toEqual(schema);
  });

  test("describes every field", () => {
    const fields = (part: object, at: string): string[] =>
      Object.entries(part).flatMap(([key, value]) =>
        key === "properties"
          ? Object.entries(value as Record<string, object>).flatMap(([name, field]) => [
              ...("description" in field ? [] : [`${at}.${name}`]),
              ...fields(field, `${at}.${name}`),
            ])
          : typeof value === "object" && value !== null
            ? fields(value, `${at}.${key}`)
            : [],
      );
    expect(fields(schema, "")).toEqual([]);
  });

  test("has the presets", () => {
    expect(schema.properties.preset.enum).toEqual(presets);
  });
});
