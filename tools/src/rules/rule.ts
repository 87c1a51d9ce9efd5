import type { FieldPath, Manifest } from "../../../lib/object.ts";
import type { Position } from "../../../lib/render/position.ts";
import type { Graph } from "../graph.ts";

/** What a rule says about a field of an object, or about a place in a file. */
export type Problem = { message: string; fix: string } & (
  | { manifest: Manifest; path: FieldPath }
  | { at: Position }
);

/** A pure check of everything that a cluster gets. */
export interface Rule {
  id: string;
  /** What is true if the rule finds nothing. */
  summary: string;
  /** Says why it matters, what exactly is checked, and what is exempt; shown by `validate --explain`. */
  explanation: string;
  /** It finds what Argo CD, the API server or istiod would refuse in any repository. It is in the preset `argocd`. */
  isOfArgocd?: true;
  /** It judges each object by itself, so that its findings are right even if other objects are missing. */
  isLocal?: true;
  /** It looks at single files, so that it can be applied even if an Application does not render. */
  isOfFiles?: true;
  /** It reads the repository's files and no objects, so that another form of an object does not matter. */
  readsNoObjects?: true;
  /** It is for clusters, and not for an overlay that some cluster could use. */
  isOfClusters?: true;
  check(graph: Graph): Problem[];
}
