import type { FieldPath, Manifest } from "../../../lib/object.ts";
import type { Position } from "../../../lib/render/position.ts";
import type { Graph } from "../graph.ts";

/** What a rule says of a field of an object, or of a place in a file. */
export type Problem = { message: string; fix: string } & (
  | { manifest: Manifest; path: FieldPath }
  | { at: Position }
);

/** A pure check of everything a cluster gets. */
export interface Rule {
  id: string;
  /** What holds where the rule finds nothing. */
  summary: string;
  /** Why it matters, what exactly is compared and what is left out; shown by `validate --explain`. */
  explanation: string;
  /** It says what Argo CD, the API server and istiod refuse, whoever wrote the repository: it is in the preset `argocd`. */
  isOfArgocd?: true;
  /** It judges each object by itself, so that it says nothing wrong where others are missing. */
  isLocal?: true;
  /** It looks at files one by one, so that it can be asked where an Application does not render. */
  isOfFiles?: true;
  /** It reads the repository's files and no object, so that an object in another form changes nothing. */
  readsNoObjects?: true;
  /** It is the business of a cluster, and not of an overlay that some cluster could take. */
  isOfClusters?: true;
  check(graph: Graph): Problem[];
}
