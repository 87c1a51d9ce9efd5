/** The Applications that an ApplicationSet makes. */
import { loadAll } from "js-yaml";
import { isMapping, type KubernetesObject, type Manifest } from "../object.ts";
import { NotAtHand, parametersOf, type World } from "./generators.ts";
import { NoHelm, renderTexts } from "./templates.ts";

/** The result of rendering an ApplicationSet. */
export interface Generated {
  applications: Manifest[];
  /** It cannot be rendered; Argo CD would say so too. */
  error?: string;
  /** Generators that cannot be evaluated here. */
  skipped: string[];
}

const resourcesFinalizer = "resources-finalizer.argocd.argoproj.io";

/** Renders an ApplicationSet with what its generators find in the repository. */
export async function generate(manifest: Manifest, world: World): Promise<Generated> {
  const { spec } = manifest.object;
  const result: Generated = { applications: [], skipped: [] };
  if (!isMapping(spec) || !isMapping(spec.template) || !Array.isArray(spec.generators)) return result;
  const isGo = spec.goTemplate === true;
  const seen = new Set<string>();
  let sets = 0;
  for (const generator of spec.generators.filter(isMapping)) {
    try {
      const own = templateOf(generator);
      const template = isMapping(own) ? merged(spec.template, own) : spec.template;
      const found = await parametersOf(generator, isGo, world);
      sets += found.length;
      const texts = { template, patch: typeof spec.templatePatch === "string" ? spec.templatePatch : "" };
      for (const { template: made, patch } of await renderTexts(texts, found, isGo)) {
        const application = applicationOf(manifest, spec, patched(made, patch));
        const flaw = flawOf(application, seen, spec.goTemplateOptions);
        if (flaw !== undefined) result.error ??= flaw;
        else if (application) {
          seen.add(application.object.metadata.name);
          result.applications.push(application);
        }
      }
    } catch (error) {
      if (error instanceof NotAtHand || error instanceof NoHelm) result.skipped.push(error.message);
      else result.error ??= (error as Error).message.split("\n")[0] ?? "it is no template";
    }
  }
  if (sets === 0 && result.error === undefined && result.skipped.length === 0)
    result.skipped.push("its generators find nothing, so it makes no Application");
  return result;
}

/** Why Argo CD would not make one Application of a set; it still makes the others. */
function flawOf(application: Manifest | undefined, seen: Set<string>, options: unknown): string | undefined {
  if (!application) return "an Application would have no name";
  const { name } = application.object.metadata;
  if (seen.has(name)) return `two Applications would be called ${name}`;
  // What Go writes for a parameter that nobody gave.
  const isStrict = Array.isArray(options) && options.includes("missingkey=error");
  return isStrict && JSON.stringify(application.object).includes("<no value>")
    ? `${name}: a parameter of its template is given by no generator`
    : undefined;
}

/** What a generator has beside its parameters: a template that is laid over the set's own. */
function templateOf(generator: Record<string, unknown>): unknown {
  return Object.values(generator)
    .filter(isMapping)
    .map(({ template }) => template)
    .find((template) => isMapping(template));
}

function patched(template: unknown, patch: string): unknown {
  if (patch.trim() === "") return template;
  const [content] = loadAll(patch);
  return isMapping(content) && isMapping(template) ? merged(template, content) : template;
}

// Lists of an Application have no keys to merge by: the later one counts.
function merged(one: Record<string, unknown>, other: Record<string, unknown>): Record<string, unknown> {
  const result: Record<string, unknown> = { ...one };
  for (const [key, value] of Object.entries(other)) {
    const before = result[key];
    if (value === null) delete result[key];
    else if (isMapping(before) && isMapping(value)) result[key] = merged(before, value);
    else if (value !== "" || before === undefined) result[key] = value;
  }
  return result;
}

function applicationOf(
  { object, application, file }: Manifest,
  spec: Record<string, unknown>,
  made: unknown,
): Manifest | undefined {
  if (!isMapping(made) || !isMapping(made.metadata) || typeof made.metadata.name !== "string")
    return undefined;
  const { finalizers } = made.metadata;
  const { preserveResourcesOnDeletion } = isMapping(spec.syncPolicy) ? spec.syncPolicy : {};
  const own = preserveResourcesOnDeletion === true || finalizers ? finalizers : [resourcesFinalizer];
  const metadata = {
    ...made.metadata,
    name: made.metadata.name,
    ...(object.metadata.namespace && { namespace: object.metadata.namespace }),
    ...(Array.isArray(own) && { finalizers: own as string[] }),
  };
  const generated: KubernetesObject = {
    apiVersion: object.apiVersion,
    kind: "Application",
    metadata,
    spec: made.spec,
  };
  return { object: generated, application, file, foreign: true };
}
