import { describeObject } from "../../../lib/object.ts";
import type { Rule } from "./rule.ts";

const wanted = ["app.kubernetes.io/name", "app.kubernetes.io/part-of"];

export const recommendedLabels: Rule = {
  id: "recommended-labels",
  isLocal: true,
  summary: "Every object has labels with its name and what it is part of",
  explanation: `Dashboards, kubectl --selector and people find objects by ${wanted.join(" and ")}. A labels entry in the
  kustomization sets them for all its objects. CustomResourceDefinitions are exempt, because they stay as their project publishes them.`,
  check: (graph) =>
    graph.own().flatMap((manifest) => {
      const { kind, metadata } = manifest.object;
      const missing = wanted.filter((label) => !metadata.labels?.[label]);
      if (kind === "CustomResourceDefinition" || missing.length === 0) return [];
      const message = `${describeObject(manifest.object)} has no label ${missing.join(" and no label ")}`;
      return [
        { manifest, path: ["metadata", "labels"], message, fix: "add it to the labels of its kustomization" },
      ];
    }),
};
