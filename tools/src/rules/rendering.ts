import { describeObject, type FieldPath, formatPath, type KubernetesObject } from "../../../lib/object.ts";
import type { Graph } from "../graph.ts";
import type { CheckRule } from "../schema/fields.ts";
import type { Problem, Rule } from "./rule.ts";

export const renders: Rule = {
  id: "renders",
  isOfArgocd: true,
  isOfFiles: true,
  isLocal: true,
  summary: "Every Application's sources render",
  explanation: `Argo CD shows a ComparisonError and deploys nothing while a source does not render, for example because of a missing file, a patch without
  a target or invalid YAML. Here the pinned kustomize renders each source as Argo CD's repo-server does. The message comes from kustomize.`,
  check: (graph) =>
    graph.input.applications.flatMap(({ name, error, errorAt, manifest }): Problem[] => {
      if (!error) return [];
      const what = {
        message: `Application ${name} does not render: ${error}`,
        fix: "correct what the message names",
      };
      if (errorAt) {
        const { file, line = 1, text } = errorAt;
        return [{ at: text ? graph.positionOfText(file, text) : { file, line, column: 1 }, ...what }];
      }
      return manifest ? [{ manifest, path: ["spec", "source", "path"], ...what }] : [];
    }),
};

export const schema: Rule = {
  id: "schema",
  isOfArgocd: true,
  isOfFiles: true,
  isLocal: true,
  summary: "Every object matches the schema of its kind",
  explanation: `The schemas come from the pinned Kubernetes, from the definitions in the pinned modules (tools/src/schema/sources.ts) and from the
  CustomResourceDefinitions that Applications render. An unknown kind, an unknown field, a wrong type and a missing field are findings: the
  API server refuses all of them except an unknown field, which it drops silently. While an object lacks the shape of its kind (a wrong type, a
  missing field), rules that compare objects with each other are not applied, because they would only report consequences.`,
  check: (graph) => defectsOf(graph, undefined),
};

/** The defects of all objects that a rule reports. With undefined, these are the defects of the schema itself. */
export function defectsOf({ input }: Graph, rule: CheckRule | undefined): Problem[] {
  return [...input.defects.values()]
    .flat()
    .filter(({ defect }) => defect.rule === rule)
    .map(({ manifest, defect }) => {
      const isNamed = typeof manifest.object.metadata?.name === "string";
      const name = isNamed ? describeObject(manifest.object) : undefined;
      const subject = [name, formatPath(defect.path)].filter(Boolean).join(" ");
      const message = subject ? `${subject}: ${defect.message}` : defect.message;
      return { manifest, path: defect.path, message, fix: defect.fix };
    });
}

const placeholder = /^set-by-/;

export const leftOpen: Rule = {
  id: "placeholder",
  isLocal: true,
  summary: "Nothing is left for the cluster to fill in",
  explanation: `A base has set-by-cluster as the value of a field that each cluster sets. If that is still there after rendering, a replacement or a
  patch is missing. The rule checks every string in every object.`,
  check: (graph) =>
    graph.own().flatMap((manifest) =>
      openTexts(manifest.object).map(({ path, text }) => ({
        manifest,
        path,
        message: `${describeObject(manifest.object)} ${formatPath(path)} is still ${text}`,
        fix: `patch it or replace it in ${graph.layout ? `${graph.layout.clusters}/${graph.input.cluster}` : "a kustomization"}`,
      })),
    ),
};

// An object that is in several graphs is searched only once, because definitions have tens of thousands of strings.
const remembered = new WeakMap<KubernetesObject, { path: FieldPath; text: string }[]>();

function openTexts(object: KubernetesObject): { path: FieldPath; text: string }[] {
  const known = remembered.get(object) ?? textsOf(object).filter(({ text }) => placeholder.test(text));
  remembered.set(object, known);
  return known;
}

function textsOf(value: unknown, path: FieldPath = []): { path: FieldPath; text: string }[] {
  if (typeof value === "string") return [{ path, text: value }];
  if (typeof value !== "object" || value === null) return [];
  return Array.isArray(value)
    ? value.flatMap((element, index) => textsOf(element, [...path, index]))
    : Object.entries(value).flatMap(([key, field]) => textsOf(field, [...path, key]));
}
