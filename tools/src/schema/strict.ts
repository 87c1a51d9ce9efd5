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

// What JSON Schema understands as it stands; descriptions, defaults and Kubernetes' own keywords are left behind.
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
  // Evaluated by themselves, see cel.ts.
  "x-kubernetes-validations",
  "x-kubernetes-list-type",
  "x-kubernetes-list-map-keys",
];

const int32 = { minimum: -(2 ** 31), maximum: 2 ** 31 - 1 };

/** Turns an OpenAPI schema into a JSON Schema under which a field that the schema does not list is an error. */
export function strictSchema(schema: OpenApiSchema): object {
  // A definition of a wrong shape allows everything here; its own schema says what is wrong with it.
  if (!isMapping(schema)) return {};
  if (schema["x-kubernetes-int-or-string"] || schema.format === "int-or-string") {
    // A pattern is about texts alone.
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

// Definitions are written for Go's expressions: `(?i)` is none here. The API server still checks what is left out.
function isRegExp(pattern: string): boolean {
  try {
    new RegExp(pattern);
    return true;
  } catch {
    return false;
  }
}

// These take values that their one-word type in the API description does not say.
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
