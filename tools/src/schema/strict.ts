import { isMapping } from "../../../lib/object.ts";

/** The part of OpenAPI that Kubernetes uses to describe its objects. */
export interface OpenApiSchema {
  $ref?: string;
  type?: string;
  format?: string;
  nullable?: boolean;
  properties?: Record<string, OpenApiSchema>;
  additionalProperties?: OpenApiSchema | boolean;
  items?: OpenApiSchema;
  [keyword: string]: unknown;
}

// JSON Schema understands these keywords. Descriptions, defaults and Kubernetes' own keywords are dropped.
const kept = [
  "$ref",
  "type",
  "required",
  "enum",
  "pattern",
  "minimum",
  "maximum",
  "minLength",
  "maxLength",
  "minItems",
  "maxItems",
  "minProperties",
  "maxProperties",
  "anyOf",
  "oneOf",
  "allOf",
  "not",
  // cel.ts evaluates these.
  "x-kubernetes-validations",
  "x-kubernetes-list-type",
  "x-kubernetes-list-map-keys",
];

const int32 = { minimum: -(2 ** 31), maximum: 2 ** 31 - 1 };

/** Turns an OpenAPI schema into a JSON Schema in which unlisted fields are errors. */
export function strictSchema(schema: OpenApiSchema): object {
  // A definition with the wrong shape allows everything here. Its own schema reports what is wrong.
  if (!isMapping(schema)) return {};
  if (schema["x-kubernetes-int-or-string"] || schema.format === "int-or-string") {
    // A pattern applies only to strings.
    const pattern =
      typeof schema.pattern === "string" && isRegExp(schema.pattern) ? { pattern: schema.pattern } : {};
    return { type: ["integer", "string"], ...pattern };
  }
  const result: Record<string, unknown> = {};
  for (const keyword of kept) if (schema[keyword] !== undefined) result[keyword] = schema[keyword];
  if (typeof schema.pattern === "string" && !isRegExp(schema.pattern)) delete result.pattern;
  if (schema.format === "int32") Object.assign(result, { ...int32, ...result });
  if (schema.nullable && schema.type) result.type = [schema.type, "null"];
  if (schema.items) result.items = strictSchema(schema.items);
  if (isMapping(schema.properties)) {
    const entries = Object.entries(schema.properties);
    result.properties = Object.fromEntries(
      entries.map(([name, field]) => [name, strictSchema(field as OpenApiSchema)]),
    );
  }
  if (typeof schema.additionalProperties === "object") {
    result.additionalProperties = strictSchema(schema.additionalProperties);
  } else if (schema.properties && !schema["x-kubernetes-preserve-unknown-fields"]) {
    result.additionalProperties = schema.additionalProperties ?? false;
  }
  return result;
}

// Definitions use Go's expressions, and JavaScript does not accept `(?i)`. The API server still checks those.
function isRegExp(pattern: string): boolean {
  try {
    new RegExp(pattern);
    return true;
  } catch {
    return false;
  }
}

// These accept more than their type in the API description says.
const specialTypes: Record<string, object> = {
  "io.k8s.apimachinery.pkg.util.intstr.IntOrString": { type: ["integer", "string"], ...int32 },
  "io.k8s.apimachinery.pkg.api.resource.Quantity": {
    type: ["string", "number"],
    pattern: "^[+-]?(\\d+|\\d+\\.\\d*|\\.\\d+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?\\d+)?$",
  },
};

/** The strict schema of one of Kubernetes' own definitions. */
export function strictDefinition(name: string, definition: OpenApiSchema): object {
  return specialTypes[name] ?? strictSchema(definition);
}
