/** What `validate` says of a cluster in which one object is another. */

import { asObject, type KubernetesObject, type Manifest } from "../../lib/object.ts";
import type { Cache } from "../../lib/render/cache.ts";
import type { Application } from "../../lib/render/cluster.ts";
import { checkout, readRepository } from "../../lib/repository.ts";
import { formatFindings } from "../src/finding.ts";
import { Graph } from "../src/graph.ts";
import { rules, runRules } from "../src/rules/index.ts";
import { platformValidator, readDefinition } from "../src/schema/sources.ts";
import type { Validator } from "../src/schema/validator.ts";
import { loadGraph, soundOf } from "../src/validate.ts";

// What only reads files says the same each time, and takes as long.
const ofObjects = rules.filter(({ readsNoObjects }) => !readsNoObjects);

/** The rendered objects of a cluster, of which any one can be tried in another form. */
export class MutableCluster {
  readonly #graph: Graph;
  readonly #validator: Validator;
  readonly #before: ReadonlySet<string>;

  private constructor(graph: Graph, validator: Validator) {
    this.#graph = graph;
    this.#validator = validator;
    this.#before = new Set(runRules(graph, ofObjects).map((finding) => formatFindings([finding])));
  }

  /** @param root a repository, such as this one */
  static async of(root: string, cluster: string, cache: Cache): Promise<MutableCluster> {
    const repository = await readRepository(root);
    const graph = await loadGraph(root, repository, cluster, cache, new Map());
    const definitions = graph
      .ofKind("CustomResourceDefinition")
      .flatMap(({ object }) => readDefinition(object));
    return new MutableCluster(graph, (await platformValidator(checkout, cache)).extendedBy(definitions));
  }

  /** This repository's own objects, without definitions: nobody edits those by hand. */
  get manifests(): Manifest[] {
    return this.#graph.own().filter(({ object }) => object.kind !== "CustomResourceDefinition");
  }

  /** The findings that there are with another object in the place of one, and not without. */
  async findings(manifest: Manifest, object: KubernetesObject): Promise<string[]> {
    try {
      asObject(object);
    } catch (error) {
      // What is no object at all does not render.
      return [`${manifest.file}:1:1: ${(error as Error).message} [renders]`];
    }
    const changed: Manifest = { ...manifest, object };
    const { input } = this.#graph;
    const applications = input.applications.map(
      (application): Application =>
        application.name === manifest.application
          ? {
              ...application,
              manifests: application.manifests.map((other) => (other === manifest ? changed : other)),
            }
          : application,
    );
    const { sound, defects } = await soundOf(applications, async (application) =>
      application.name === manifest.application
        ? this.#validator.check(object).map((defect) => ({ manifest: changed, defect }))
        : [],
    );
    const findings = runRules(new Graph({ ...input, applications: sound, defects }), ofObjects);
    return findings.map((finding) => formatFindings([finding])).filter((text) => !this.#before.has(text));
  }
}
