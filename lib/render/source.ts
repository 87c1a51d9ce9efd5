import { readFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "js-yaml";
import { layoutAt, placeOf } from "../configuration.ts";

/** Where Argo CD finds the platform: the repository as it is reached from inside the cluster, and the branch. */
export interface Source {
  repository: string;
  branch: string;
}

/** The file that says where a cluster's repository and branch are, from the root of the checkout. */
export function sourceFile(checkout: string, cluster: string): string {
  return placeOf(layoutAt(checkout).source, cluster);
}

/** Reads a cluster's repository and branch from the one place that names them. */
export function readSource(checkout: string, cluster: string): Source {
  const { data } = load(readFileSync(join(checkout, sourceFile(checkout, cluster)), "utf8")) as {
    data: Source;
  };
  return { repository: data.repository, branch: data.branch };
}
