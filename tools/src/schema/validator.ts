import { Ajv, type ErrorObject } from "ajv";
import type { Finding } from "../finding.ts";
import { describeObject, type KubernetesObject } from "../object.ts";
import { type OpenApiSchema, strictSchema } from "./strict.ts";

const objectMeta = "schema:kubernetes#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

// These take values that their one-word type in the API description does not say.
const specialTypes: Record<string, object> = {
  "io.k8s.apimachinery.pkg.api.resource.Quantity": {
    type: ["string", "number"],
    pattern: "^[+-]?(\\d+|\\d+\\.\\d*|\\.\\d+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?\\d+)?$",
  },
};

interface Definition {
  group: string;
  names: { kind: string };
  versions: { name: string; schema: { openAPIV3Schema: OpenApiSchema } }[];
}

/** Checks objects against the schemas of their kinds: an unknown kind, an unknown field and a wrong type are findings. */
export class Validator {
  readonly #ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false, unicodeRegExp: false });
  /** From `apps/v1 Deployment` to the name of the schema. */
  readonly #kinds = new Map<string, string>();

  /** @param definitions the `definitions` of Kubernetes' OpenAPI description */
  constructor(definitions: Record<string, OpenApiSchema>) {
    const strict: Record<string, object> = {};
    for (const [name, definition] of Object.entries(definitions)) {
      strict[name] = specialTypes[name] ?? strictSchema(definition);
      const kinds = (definition["x-kubernetes-group-version-kind"] ?? []) as Record<string, string>[];
      for (const { group, version, kind } of kinds) {
        const apiVersion = group ? `${group}/${version}` : version;
        this.#kinds.set(`${apiVersion} ${kind}`, `schema:kubernetes#/definitions/${name}`);
      }
    }
    this.#ajv.addSchema({ $id: "schema:kubernetes", definitions: strict });
  }

  /** Makes the kinds of a CustomResourceDefinition known. */
  addDefinition(definition: KubernetesObject): void {
    const { group, names, versions } = definition.spec as Definition;
    for (const { name, schema } of versions) {
      const key = `${group}/${name} ${names.kind}`;
      const { properties, ...rest } = schema.openAPIV3Schema;
      const id = `schema:${group}/${name}/${names.kind}`;
      // What every object has: a definition need not say so.
      const type = { type: "string" };
      const own = { apiVersion: type, kind: type, ...properties, metadata: { $ref: objectMeta } };
      const withMeta = { ...rest, properties: own };
      this.#ajv.addSchema({ ...strictSchema(withMeta), $id: id });
      this.#kinds.set(key, id);
    }
  }

  /** Finds what the API server would refuse or drop. */
  check(object: KubernetesObject): Finding[] {
    const found = (path: string, message: string): Finding => ({
      rule: "schema",
      where: path === "" ? describeObject(object) : `${describeObject(object)} ${path}`,
      message,
    });
    if (!object.metadata?.name) {
      return [
        { rule: "schema", where: `${object.kind} without a name`, message: "metadata.name is missing" },
      ];
    }
    const schema = this.#kinds.get(`${object.apiVersion} ${object.kind}`);
    if (schema === undefined)
      return [found("", `no schema is known for ${object.apiVersion} ${object.kind}`)];
    const validate = this.#ajv.getSchema(schema);
    if (!validate || validate(object)) return [];
    return (validate.errors ?? []).map((error) => found(pathOf(error), messageOf(error)));
  }
}

// From a JSON pointer to the way kubectl writes a path: spec.containers[0].image
function pathOf({ instancePath, keyword, params }: ErrorObject): string {
  const extra = keyword === "additionalProperties" ? `/${params.additionalProperty}` : "";
  return `${instancePath}${extra}`
    .slice(1)
    .split("/")
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
    .map((part) => (/^\d+$/.test(part) ? `[${part}]` : `.${part}`))
    .join("")
    .replace(/^\./, "");
}

function messageOf({ keyword, message, params }: ErrorObject): string {
  if (keyword === "additionalProperties") return "unknown field";
  if (keyword === "enum") return `must be one of ${params.allowedValues.join(", ")}`;
  return message ?? keyword;
}
