import { Ajv, type ErrorObject } from "ajv";
import { type FieldPath, groupOf, type KubernetesObject } from "../../../lib/object.ts";
import type { CheckRule } from "./fields.ts";
import { flawsOf } from "./walk.ts";

const objectMeta = "schema:kubernetes#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/** The groups of the API server itself, now or in the past. Kinds in groups that were removed are unknown. */
const builtInGroups = new Set([
  ...["", "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "apps"],
  ...["authentication.k8s.io", "authorization.k8s.io", "autoscaling", "batch", "certificates.k8s.io"],
  ...["coordination.k8s.io", "discovery.k8s.io", "events.k8s.io", "flowcontrol.apiserver.k8s.io"],
  ...["networking.k8s.io", "node.k8s.io", "policy", "rbac.authorization.k8s.io", "resource.k8s.io"],
  ...["scheduling.k8s.io", "storage.k8s.io", "extensions"],
]);

/** The schema of one version of a custom resource. */
export interface Definition {
  /** Such as `argoproj.io/v1alpha1 Application`. */
  kind: string;
  namespaced: boolean;
  schema: object;
}

/** Strict JSON Schemas, which are kept between runs. */
export interface CompiledSchemas {
  /** Schemas by their name in Kubernetes' OpenAPI description. */
  kubernetes: Record<string, object>;
  /** Maps a kind such as `apps/v1 Deployment` to a name in `kubernetes`. */
  kinds: Record<string, string>;
  /** The namespaced kinds among them. */
  namespaced: string[];
  definitions: Definition[];
}

/** What is wrong with an object, and where. */
export interface Defect {
  path: FieldPath;
  message: string;
  fix: string;
  /** The object lacks the shape of its kind: where rules expect a list there may be a string, or nothing. */
  isShape?: true;
  /** The kind is unknown, so that the object was not compared with a schema. */
  isUnknownKind?: true;
  /** The rule that reports it, if that is not `schema`. */
  rule?: CheckRule;
}

/** Checks objects against the schemas of their kinds: an unknown kind, an unknown field and a wrong type are defects. */
export class Validator {
  // Code that ajv has not made shorter runs as fast, and making it shorter takes longer than running it for a repository.
  readonly #ajv = new Ajv({
    strict: false,
    allErrors: true,
    validateFormats: false,
    unicodeRegExp: false,
    code: { optimize: false },
  });
  /** Maps a kind such as `apps/v1 Deployment` to the name of its schema. */
  readonly #kinds = new Map<string, string>();
  /** Further definitions of a kind, by the name of the first one. A repository may have one for each cluster. */
  readonly #others = new Map<string, string[]>();
  readonly #known = new Set<string>();
  readonly #namespaced: Set<string>;
  readonly #schemas: CompiledSchemas;
  readonly #definitions: Record<string, object>;
  /** Definitions that are not valid schemas, with the reason. */
  readonly #broken = new Map<string, string>();
  #fallback: Validator | undefined;

  constructor(schemas: CompiledSchemas) {
    const { kubernetes, kinds, namespaced, definitions } = schemas;
    this.#schemas = schemas;
    this.#definitions = kubernetes;
    this.#namespaced = new Set(namespaced);
    for (const [kind, name] of Object.entries(kinds)) {
      this.#kinds.set(kind, `schema:kubernetes#/definitions/${name}`);
    }
    // The pinned schemas are known to be schemas: `compileSchemas` made them.
    this.#ajv.addSchema({ $id: "schema:kubernetes", definitions: kubernetes }, undefined, false, false);
    for (const definition of definitions) this.#add(definition);
  }

  /** A new validator that also knows the given kinds, or other definitions of known kinds. This one stays unchanged. */
  extendedBy(definitions: Definition[]): Validator {
    if (definitions.length === 0) return this;
    const extended = new Validator({ ...this.#schemas, kinds: {}, namespaced: [], definitions });
    extended.#fallback = this;
    return extended;
  }

  #add({ kind, namespaced, schema }: Definition): void {
    const first = `schema:${kind.replace(" ", "/")}`;
    const { properties } = schema as { properties?: object };
    const text = `${kind} ${JSON.stringify(schema)}`;
    // The same definition may occur several times: in its file, as a rendered object, and in several charts.
    if (this.#known.has(text)) return;
    this.#known.add(text);
    const others = this.#others.get(first) ?? [];
    const id = this.#kinds.has(kind) ? `${first}/${others.length + 2}` : first;
    if (id === first) this.#kinds.set(kind, id);
    else this.#others.set(first, [...others, id]);
    try {
      this.#ajv.addSchema({
        ...schema,
        properties: { ...properties, metadata: { $ref: objectMeta } },
        $id: id,
      });
    } catch (error) {
      this.#broken.set(id, (error as Error).message);
    }
    if (namespaced) this.#namespaced.add(kind);
  }

  /** True for namespaced objects; undefined if the kind is unknown. */
  isNamespaced({ apiVersion, kind }: Pick<KubernetesObject, "apiVersion" | "kind">): boolean | undefined {
    const name = `${apiVersion} ${kind}`;
    if (this.#kinds.has(name)) return this.#namespaced.has(name);
    return this.#fallback?.isNamespaced({ apiVersion, kind });
  }

  /** Finds everything that the API server would refuse or drop. */
  check(object: KubernetesObject): Defect[] {
    const { name, generateName } = object.metadata ?? {};
    if ((typeof name !== "string" || name === "") && typeof generateName !== "string") {
      const message = `${object.kind} has no name`;
      return [{ path: [], message, fix: "set metadata.name", isShape: true }];
    }
    const schema = this.#kinds.get(`${object.apiVersion} ${object.kind}`);
    if (schema === undefined && this.#fallback) return this.#fallback.check(object);
    if (schema === undefined) {
      const message = `no schema is known for ${object.apiVersion} ${object.kind}`;
      const isUnknown = !this.#defines(object);
      return [
        { path: [], message, fix: this.#nearest(object), ...(isUnknown && { isUnknownKind: true as const }) },
        ...this.#metadataDefects(object),
      ];
    }
    // It is unknown which cluster has which definition, so an object is right if one of them accepts it.
    const found = [schema, ...(this.#others.get(schema) ?? [])].map((one) => this.#against(one, object));
    return found.reduce((least, other) => (other.length < least.length ? other : least));
  }

  #against(schema: string, object: KubernetesObject): Defect[] {
    const broken = this.#broken.get(schema);
    if (broken !== undefined) {
      const message = `the definition of ${object.kind} is not a valid schema: ${broken}`;
      return [{ path: [], message, fix: "correct the CustomResourceDefinition", isShape: true }];
    }
    const validate = this.#compiled(schema);
    if (!validate) return this.#broken.has(schema) ? this.#against(schema, object) : [];
    const defects = validate(object) ? [] : alternativesAsOne(validate.errors ?? []);
    // The checks below rely on the lists and mappings of the schema.
    if (defects.some(({ isShape }) => isShape)) return defects;
    // A definition may not define fields that rules read. Then the pinned definition of the kind says what shape they have.
    const open = this.#fallback?.check(object).filter(({ isShape }) => isShape) ?? [];
    if (open.length > 0) return [...defects, ...open];
    return [
      ...defects,
      ...flawsOf(object, { $ref: schema, ...(validate.schema as object) }, this.#definitions),
    ];
  }

  #compiled(schema: string): ReturnType<Ajv["getSchema"]> {
    try {
      return this.#ajv.getSchema(schema);
    } catch (error) {
      // Some errors in a definition, such as a $ref without a target, are found only when it is compiled.
      this.#broken.set(schema, (error as Error).message);
      return undefined;
    }
  }

  // Even the metadata of an unknown kind is defined by Kubernetes, and rules read it.
  #metadataDefects({ metadata }: KubernetesObject): Defect[] {
    const validate = this.#ajv.getSchema(objectMeta);
    if (!validate || validate(metadata)) return [];
    return (validate.errors ?? [])
      .map(defectOf)
      .map((defect) => ({ ...defect, path: ["metadata", ...defect.path] }));
  }

  // If Kubernetes has the group, or the kind is known in another version, then this object is wrong.
  #defines(object: KubernetesObject): boolean {
    const group = groupOf(object);
    if (builtInGroups.has(group)) return true;
    return [...this.#kinds.keys()].some((known) => {
      const [apiVersion = "", kind] = known.split(" ");
      return kind === object.kind && groupOf({ apiVersion }) === group;
    });
  }

  #nearest({ apiVersion, kind }: KubernetesObject): string {
    const versions = [...this.#kinds.keys()].flatMap((known) =>
      known.endsWith(` ${kind}`) ? known.split(" ")[0] : [],
    );
    if (versions.length > 0) return `write apiVersion: ${versions.join(" or ")} instead of ${apiVersion}`;
    return "correct kind and apiVersion, or add the CustomResourceDefinition";
  }
}

// A field that matches none of its alternatives is one defect, and not one for each alternative.
function alternativesAsOne(all: ErrorObject[]): Defect[] {
  const errors = all.filter(({ keyword }) => keyword !== "if");
  const choices = errors.filter(({ keyword }) => keyword === "oneOf" || keyword === "anyOf");
  const inside = ({ schemaPath }: ErrorObject): boolean =>
    choices.some(
      (choice) => schemaPath !== choice.schemaPath && schemaPath.startsWith(`${choice.schemaPath}/`),
    );
  return errors.filter((error) => !inside(error)).map(defectOf);
}

function defectOf({ instancePath, keyword, params, message = keyword }: ErrorObject): Defect {
  const path = instancePath
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
  switch (keyword) {
    case "additionalProperties":
      return {
        path: [...path, params.additionalProperty],
        message: "unknown field",
        fix: "correct its name or its place, or remove it",
      };
    case "required":
      return {
        path,
        message: `${params.missingProperty} is missing`,
        fix: `add ${params.missingProperty}`,
        isShape: true,
      };
    case "enum":
      return { path, message: "value not allowed", fix: `write one of ${params.allowedValues.join(", ")}` };
    case "type":
      return {
        path,
        message: "wrong type",
        fix: `write ${[params.type].flat().map(article).join(" or ")}`,
        isShape: true,
      };
    case "oneOf":
    case "anyOf":
      return {
        path,
        message: `value refused: ${message}`,
        fix: "correct the value",
        isShape: true,
      };
    default:
      return { path, message: `value refused: ${message}`, fix: "correct the value" };
  }
}

const article = (type: string): string => (/^[aeiou]/.test(type) ? `an ${type}` : `a ${type}`);
