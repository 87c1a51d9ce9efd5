/**
 * What a command line says instead of Git: repository, revision, registry, high availability.
 *
 * Nothing in Git is edited. The root Application is applied by deploy.sh, so it can carry the difference: its
 * `spec.source.kustomize.patches` change the Applications that it makes.
 */
import { layoutOf } from "../configuration.ts";
import { imagesEntries, imagesIn, parseImage } from "../images/names.ts";
import type { KubernetesObject } from "../object.ts";
import { type Repository, serviceNames } from "../repository.ts";
import { sourcesOf } from "./application.ts";
import { type Application, readYaml } from "./cluster.ts";
import { kustomizationOf } from "./references.ts";
import type { Source } from "./source.ts";

/** An override that is undefined leaves the choice to Git. */
export interface Overrides {
  /** URL of the repository, as it is reached from inside the cluster. */
  repository?: string;
  /** Branch, tag or commit that Argo CD follows. */
  revision?: string;
  /** `HOST/PATH` that the images of services/* are pulled from. */
  registry?: string;
  /** Argo CD that outlives a node. */
  ha?: boolean;
}

/** The label of Applications with several sources; a patch of `spec.source` must leave them out. */
export const severalSources = { key: "app.kubernetes.io/component", value: "chart" };

/** The kustomization of the Argo CD that outlives a node. */
export const highlyAvailable = "gitops/platform/argocd/overlays/ha";

interface Patch {
  target: { kind: "Application"; name?: string; labelSelector?: string };
  patch: string;
}

interface Operation {
  op: "add" | "replace";
  path: string;
  value: unknown;
}

/**
 * Lays what a command line overrides over what a cluster starts from.
 * @param start the AppProjects and the root Application, as rendered from Git
 * @param applications those that the root makes, rendered
 * @param git what Git says; an override that equals it changes nothing
 */
export function overrideRoot(
  start: KubernetesObject[],
  applications: Application[],
  files: Repository,
  git: Source,
  overrides: Overrides,
): KubernetesObject[] {
  const repository = overrides.repository ?? git.repository;
  const revision = overrides.revision ?? git.branch;
  const patches = [
    ...sourcePatches(applications, git, repository, revision),
    ...registryPatches(applications, files, overrides.registry),
    ...(overrides.ha ? [availabilityPatch(applications, layoutOf(files).selfManagement)] : []),
  ];
  return start.map((object) => {
    if (object.kind === "AppProject") {
      const repositories = (object.spec.sourceRepos as string[]).map((url) =>
        url === git.repository ? repository : url,
      );
      return { ...object, spec: { ...object.spec, sourceRepos: repositories } };
    }
    if (object.kind !== "Application") return object;
    const source = {
      ...object.spec.source,
      repoURL: repository,
      targetRevision: revision,
      ...(patches.length > 0 && { kustomize: { patches } }),
    };
    return { ...object, spec: { ...object.spec, source } };
  });
}

/** Where the images of services are pulled from, as Git says. @throws if Git names several places */
export function servicesRegistry(applications: Application[], services: string[]): string | undefined {
  const registries = new Set(
    applications.flatMap((application) =>
      serviceImages(application, services).map((name) => name.slice(0, name.lastIndexOf("/"))),
    ),
  );
  if (registries.size > 1)
    throw new Error(`the images of services come from several places: ${[...registries].join(", ")}`);
  return [...registries][0];
}

function sourcePatches(
  applications: Application[],
  git: Source,
  repository: string,
  revision: string,
): Patch[] {
  if (repository === git.repository && revision === git.branch) return [];
  const operations = (path: string): Operation[] => [
    ...replacement(`${path}/repoURL`, git.repository, repository),
    ...replacement(`${path}/targetRevision`, git.branch, revision),
  ];
  const several = applications.flatMap(({ manifest }) =>
    manifest?.object.spec?.sources ? [manifest.object] : [],
  );
  const unlabelled = several.find(
    ({ metadata }) => metadata.labels?.[severalSources.key] !== severalSources.value,
  );
  if (unlabelled) {
    throw new Error(
      `Application ${unlabelled.metadata.name} has several sources and no label ${severalSources.key}: ${severalSources.value}`,
    );
  }
  return [
    // By label, not by name: an Application that a later commit adds follows too.
    patch({ labelSelector: `${severalSources.key}!=${severalSources.value}` }, operations("/spec/source")),
    ...several.flatMap((application) =>
      sourcesOf(application).flatMap(({ repoURL }, index) =>
        repoURL === git.repository
          ? [patch({ name: application.metadata.name }, operations(`/spec/sources/${index}`))]
          : [],
      ),
    ),
  ];
}

const replacement = (path: string, before: string, after: string): Operation[] =>
  before === after ? [] : [{ op: "replace", path, value: after }];

function registryPatches(
  applications: Application[],
  files: Repository,
  registry: string | undefined,
): Patch[] {
  const services = serviceNames(files);
  if (registry === undefined || registry === servicesRegistry(applications, services)) return [];
  return applications.flatMap((application) => {
    if (!application.manifest) return [];
    const { kustomize, path } = application.manifest.object.spec.source ?? {};
    const entries = imagesEntries(readYaml(files, kustomizationOf(path ?? "")));
    const images = serviceImages(application, services).map((name) => {
      // Argo CD edits that kustomization: of an entry with the same name only an asterisk keeps the tag.
      const keep = entries.some((entry) => entry.name === name) ? ":*" : "";
      return `${name}=${registry}/${name.slice(name.lastIndexOf("/") + 1)}${keep}`;
    });
    if (images.length === 0) return [];
    const operation: Operation = kustomize
      ? {
          op: "add",
          path: "/spec/source/kustomize/images",
          value: [...(kustomize.images ?? []), ...images],
        }
      : { op: "add", path: "/spec/source/kustomize", value: { images } };
    return [patch({ name: application.name }, [operation])];
  });
}

/** Names of the images of services that an Application's objects use, in order. */
function serviceImages({ manifests }: Application, services: string[]): string[] {
  const names = manifests
    .flatMap(({ object }) => imagesIn(object))
    .map((image) => parseImage(image).name)
    .filter((name) => services.includes(name.slice(name.lastIndexOf("/") + 1)));
  return [...new Set(names)].sort();
}

function availabilityPatch(applications: Application[], selfManagement: string): Patch {
  if (!applications.some(({ name }) => name === selfManagement))
    throw new Error(
      `there is no Application ${selfManagement} on this cluster, so no other Argo CD to choose`,
    );
  return patch({ name: selfManagement }, [
    { op: "replace", path: "/spec/source/path", value: highlyAvailable },
  ]);
}

const patch = (target: Omit<Patch["target"], "kind">, operations: Operation[]): Patch => ({
  target: { kind: "Application", ...target },
  patch: JSON.stringify(operations),
});
