import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { describeObject, formatPath, parseObjects } from "../../lib/object.ts";
import { checkout } from "../../lib/repository.ts";
import { platformValidator } from "../src/schema/sources.ts";
import { strictSchema } from "../src/schema/strict.ts";
import type { Validator } from "../src/schema/validator.ts";

let validator: Validator;
beforeAll(async () => {
  validator = await platformValidator(checkout);
}, 600_000);

const check = (file: string): string =>
  parseObjects(readFileSync(join(checkout, "tools/test/fixtures/objects", file), "utf8"))
    .flatMap((object) =>
      validator
        .check(object)
        .map(({ path, message, fix }) =>
          [
            object.metadata.name ? describeObject(object) : "",
            `${formatPath(path)}: ${message}: ${fix}`,
          ].join(" "),
        ),
    )
    .join("\n");

describe("a manifest", () => {
  test("that is right has no findings", () => {
    expect(check("valid/deployment.yaml")).toBe("");
    expect(check("valid/application.yaml")).toBe("");
  });

  test.each([
    [
      "a misspelt field",
      "unknown-field.yaml",
      "Deployment shop/cart spec.template.spec.containers[0].redinessProbe: unknown field: correct its name or its place, or remove it",
    ],
    [
      "a text where a number belongs",
      "wrong-type.yaml",
      "Deployment shop/cart spec.template.spec.containers[0].ports[0].containerPort: wrong type: write an integer",
    ],
    [
      "a missing field",
      "missing-field.yaml",
      "Deployment shop/cart spec.template.spec.containers[0]: name is missing: add name",
    ],
    ["a quantity that is none", "wrong-quantity.yaml", /^ResourceQuota shop\/small spec\.hard\.memory: /],
    [
      "a label that is no text",
      "wrong-label.yaml",
      "Namespace shop metadata.labels.tier: wrong type: write a string",
    ],
    [
      "a kind nobody defines",
      "unknown-kind.yaml",
      "Deploymnet shop/cart : no schema is known for apps/v1 Deploymnet",
    ],
    [
      "an API version that is gone",
      "removed-version.yaml",
      /no schema is known for policy\/v1beta1 PodDisruptionBudget/,
    ],
    [
      "a misspelt field of a custom resource",
      "unknown-custom-field.yaml",
      "Application argocd/shop spec.syncPolicy.automated.selfheal: unknown field",
    ],
    [
      "a misspelt field in a custom resource's metadata",
      "unknown-metadata.yaml",
      "AppProject argocd/shop metadata.label: unknown field",
    ],
    ["no name", "no-name.yaml", "ConfigMap has no name: set metadata.name"],
  ])("with %s is found out, with its object and path", (_, file, expected) => {
    expect(check(`invalid/${file}`)).toMatch(expected);
  });
});

describe("a strict schema", () => {
  test("closes objects, but not maps and not what asks to stay open", () => {
    const text = { type: "string" };
    expect(strictSchema({ type: "object", properties: { a: text } })).toMatchObject({
      additionalProperties: false,
    });
    expect(strictSchema({ type: "object", additionalProperties: text })).toMatchObject({
      additionalProperties: text,
    });
    const open = { type: "object", properties: { a: text }, "x-kubernetes-preserve-unknown-fields": true };
    expect(strictSchema(open)).not.toHaveProperty("additionalProperties");
  });

  test("leaves out a pattern that only Go understands", () => {
    expect(strictSchema({ type: "string", pattern: "^(?i)(abort)?$" })).toEqual({ type: "string" });
    expect(strictSchema({ type: "string", pattern: "^a$" })).toEqual({ type: "string", pattern: "^a$" });
  });

  test("takes numbers and names for ports, and null where it is allowed", () => {
    expect(strictSchema({ type: "string", format: "int-or-string" })).toEqual({
      type: ["integer", "string"],
    });
    expect(strictSchema({ type: "string", nullable: true })).toEqual({ type: ["string", "null"] });
  });
});
