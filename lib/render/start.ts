/** What deploy.sh applies before Argo CD can take over: Argo CD itself, and what it starts from. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { dump } from "js-yaml";
import { layoutAt, placeOf } from "../configuration.ts";
import { parseObjects } from "../object.ts";
import { cacheDirectory, type Repository, readRepository } from "../repository.ts";
import { installDirectory, renderArgocd } from "./argocd.ts";
import { Cache } from "./cache.ts";
import { type Application, renderCluster } from "./cluster.ts";
import { renderYaml } from "./kustomize.ts";
import { highlyAvailable, type Overrides, overrideRoot } from "./overrides.ts";
import { withLocalRemotes } from "./remote.ts";
import { readSource } from "./source.ts";

/**
 * Renders Argo CD for a cluster: if it manages itself, from the directory that it reads itself afterwards.
 * @param ha render the Argo CD that outlives a node
 */
export async function renderInstall(checkout: string, cluster: string, ha = false): Promise<string> {
  if (existsSync(join(checkout, installDirectory(checkout, cluster)))) {
    if (ha) throw new Error(`the Argo CD of cluster ${cluster} does not manage itself and has one form only`);
    return renderArgocd(checkout, cluster);
  }
  const { applications } = await childrenOf(checkout, cluster);
  const { selfManagement } = layoutAt(checkout);
  const own = applications.find(({ name }) => name === selfManagement);
  const path = own?.manifest?.object.spec.source?.path as string | undefined;
  if (!path)
    throw new Error(
      `neither ${installDirectory(checkout, cluster)} nor an Application ${selfManagement} says what to install`,
    );
  return withLocalRemotes(checkout, ha ? highlyAvailable : path, (_, directory) => renderYaml(directory));
}

/**
 * Renders what Argo CD starts from on a cluster: the AppProjects and the root Application.
 * @param wishes what to change from what Git says
 */
export async function renderRoot(checkout: string, cluster: string, wishes: Overrides = {}): Promise<string> {
  const yaml = await renderYaml(join(checkout, placeOf(layoutAt(checkout).root, cluster)));
  if (Object.values(wishes).every((wish) => wish === undefined || wish === false)) return yaml;
  const { repository, applications } = await childrenOf(checkout, cluster);
  const git = readSource(checkout, cluster);
  const objects = overrideRoot(parseObjects(yaml), applications, repository, git, wishes);
  return objects.map((object) => dump(object, { lineWidth: -1 })).join("---\n");
}

/** The Applications that a cluster's root makes, rendered as Git has them. */
export async function childrenOf(
  checkout: string,
  cluster: string,
): Promise<{ repository: Repository; applications: Application[] }> {
  const repository = await readRepository(checkout);
  const all = await renderCluster(checkout, repository, cluster, new Cache(cacheDirectory));
  const broken = all.find(({ error }) => error);
  if (broken) throw new Error(`Application ${broken.name} does not render: ${broken.error}`);
  return { repository, applications: all.filter(({ parent }) => parent === "root") };
}
