import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import {
  argocd,
  certManager,
  istio,
  kubernetes,
  moduleSource,
  type PinnedModule,
  pinnedVersion,
  prometheusOperator,
} from "../../../lib/modules.ts";
import { isMapping, type KubernetesObject, parseObjects } from "../../../lib/object.ts";
import { type Cache, digest } from "../../../lib/render/cache.ts";
import { ownCode } from "../../../lib/render/own-code.ts";
import { type OpenApiSchema, strictDefinition, strictSchema } from "./strict.ts";
import type { CompiledSchemas, Definition, Validator } from "./validator.ts";

/** A pinned module whose source has CustomResourceDefinitions, in one file or in all files of a directory with a suffix. */
interface DefinitionSource {
  module: PinnedModule;
  path: string;
  suffix?: string;
}

/** The sources of definitions that no Application renders. A new kind of resource needs one more line. */
const definitionSources: DefinitionSource[] = [
  { module: argocd, path: "manifests/crds", suffix: "-crd.yaml" },
  { module: certManager, path: "deploy/crds", suffix: ".yaml" },
  { module: istio, path: "manifests/charts/base/files/crd-all.gen.yaml" },
  // On another cluster a chart has these definitions, and it is not available here.
  { module: prometheusOperator, path: "example/prometheus-operator-crd", suffix: ".yaml" },
];

/** The cache key of the schemas that `platformValidator` would make. */
export function platformSchemasKey(checkout: string): string {
  const modules = [kubernetes, ...definitionSources.map(({ module }) => module)];
  return digest(
    ...modules.map((module) => pinnedVersion(checkout, module)),
    ownCode(dirname(fileURLToPath(import.meta.url))),
  );
}

const loaded = new Map<string, Promise<Validator>>();

/** A validator for everything that the platform uses: the pinned Kubernetes and the definitions in pinned modules. */
export async function platformValidator(checkout: string, cache?: Cache): Promise<Validator> {
  const key = platformSchemasKey(checkout);
  const validator = loaded.get(key) ?? load(checkout, key, cache);
  loaded.set(key, validator);
  return validator;
}

async function load(checkout: string, key: string, cache?: Cache): Promise<Validator> {
  const known = cache?.get<CompiledSchemas>("schemas", key);
  // Ajv takes a tenth of a second to load. A run that finds everything in the cache does not need it.
  const { Validator } = await import("./validator.ts");
  if (known) return new Validator(known);
  const packaged = join(checkout, packagedSchemas);
  if (existsSync(packaged))
    return new Validator(JSON.parse(gunzipSync(readFileSync(packaged)).toString("utf8")) as CompiledSchemas);
  const schemas = await compileSchemas(checkout);
  cache?.set("schemas", key, schemas);
  return new Validator(schemas);
}

/** The path of the schemas in a package, which is used on machines without the modules. */
export const packagedSchemas = "schemas.json.gz";

/** Reads the schemas of everything that the platform uses from the sources of the pinned modules. */
export async function compileSchemas(checkout: string): Promise<CompiledSchemas> {
  const [api, ...definitions] = await Promise.all([
    kubernetesApi(checkout),
    ...definitionSources.map((source) => definitionsOf(checkout, source)),
  ]);
  return { ...api, definitions: definitions.flat() };
}

interface Swagger {
  definitions: Record<string, OpenApiSchema>;
  paths: Record<string, Record<string, unknown>>;
}

async function kubernetesApi(
  checkout: string,
): Promise<Pick<CompiledSchemas, "kubernetes" | "kinds" | "namespaced">> {
  const file = join(await moduleSource(checkout, kubernetes), "api/openapi-spec/swagger.json");
  const { definitions, paths } = JSON.parse(readFileSync(file, "utf8")) as Swagger;
  const generated = join(
    await moduleSource(checkout, kubernetes),
    "pkg/generated/openapi/zz_generated.openapi.go",
  );
  addEnumerations(definitions, readFileSync(generated, "utf8"));
  const kinds: Record<string, string> = {};
  const strict: Record<string, object> = {};
  for (const [name, definition] of Object.entries(definitions)) {
    strict[name] = strictDefinition(name, definition);
    for (const kind of kindsOf(definition)) kinds[kind] = name;
  }
  const namespaced = Object.entries(paths)
    .filter(([path]) => path.includes("/namespaces/{namespace}/"))
    .flatMap(([, { post }]) => kindsOf((post ?? {}) as OpenApiSchema));
  return { kubernetes: strict, kinds, namespaced: [...new Set(namespaced)] };
}

const withoutDefault = new Set([
  "action",
  "effect",
  "fsGroupChangePolicy",
  "operator",
  "unhealthyPodEvictionPolicy",
  "whenUnsatisfiable",
]);

/**
 * Adds the allowed values of fields to definitions. The published description lacks them, but the code from which it is
 * generated has them: one function for each definition, and one indented block for each field.
 */
export function addEnumerations(definitions: Record<string, OpenApiSchema>, code: string): void {
  for (const body of code.split(/^func schema_/m).slice(1)) {
    const [, group, version, type] = /^k8sio_api_(\w+?)_(v\d\w*?)_(\w+)\(/.exec(body) ?? [];
    const definition = definitions[`io.k8s.api.${group}.${version}.${type}`];
    if (!definition?.properties) continue;
    for (const block of body.split(/^\t{5}"/m).slice(1)) {
      const field = definition.properties[block.slice(0, block.indexOf('"'))];
      const [, indent = "", listed = ""] = /^(\t+)Enum: +\[\]interface\{\}\{(.*)\},$/m.exec(block) ?? [];
      const values = [...listed.matchAll(/"([^"]*)"/g)].map(([, value = ""]) => value);
      const place = indent.length > 7 ? field?.items : field;
      const name = block.slice(0, block.indexOf('"'));
      // An empty value is allowed if the server replaces it by a default.
      const nothing = place === field && !withoutDefault.has(name) ? [""] : [];
      if (place && values.length > 0) place.enum = [...new Set([...values, ...nothing])];
    }
  }
}

// The description of a type has a list here, and that of a request a single entry.
function kindsOf(schema: OpenApiSchema): string[] {
  const entries = [schema["x-kubernetes-group-version-kind"] ?? []].flat() as Record<string, string>[];
  return entries.map(({ group, version, kind }) => `${group ? `${group}/${version}` : version} ${kind}`);
}

async function definitionsOf(
  checkout: string,
  { module, path, suffix }: DefinitionSource,
): Promise<Definition[]> {
  const place = join(await moduleSource(checkout, module), path);
  const files = suffix
    ? readdirSync(place)
        .filter((file) => file.endsWith(suffix))
        .map((file) => join(place, file))
    : [place];
  return files.flatMap((file) => parseObjects(readFileSync(file, "utf8")).flatMap(readDefinition));
}

/** The schemas of a CustomResourceDefinition, one for each version, with which its resources are checked. */
export function readDefinition({ kind, spec }: KubernetesObject): Definition[] {
  if (kind !== "CustomResourceDefinition") return [];
  const { group, names, scope, versions } = spec ?? {};
  // A definition with the wrong shape defines nothing. Its own schema reports what is wrong.
  if (!Array.isArray(versions)) return [];
  return (versions as { name: string; schema?: { openAPIV3Schema?: OpenApiSchema } }[])
    .filter(isMapping)
    .map(({ name, schema }) => {
      const given = schema?.openAPIV3Schema;
      const { properties, ...rest } = isMapping(given)
        ? given
        : { "x-kubernetes-preserve-unknown-fields": true };
      // Kubernetes itself defines `metadata`, whatever the definition says about it.
      const own = Object.fromEntries(
        Object.entries(properties ?? {}).filter(([field]) => field !== "metadata"),
      );
      return {
        kind: `${group}/${name} ${names?.kind}`,
        namespaced: scope === "Namespaced",
        schema: strictSchema({
          ...rest,
          properties: { apiVersion: { type: "string" }, kind: { type: "string" }, ...own },
        }),
      };
    });
}
