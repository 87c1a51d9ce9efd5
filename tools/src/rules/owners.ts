import { describeObject, identify, type Manifest } from "../../../lib/object.ts";
import type { Rule } from "./rule.ts";

export const singleOwner: Rule = {
  id: "single-owner",
  isOfArgocd: true,
  isLocal: true,
  summary: "Every object and every namespace has one owner",
  explanation: `Two Applications that render the same object (group, kind, namespace and name) take it from each other at every sync, and pruning
  one of them deletes an object that the other needs. An object that occurs twice in one Application is applied twice, in an arbitrary order.`,
  check: (graph) => {
    const owners = new Map<string, Manifest>();
    return graph.manifests.flatMap((manifest) => {
      const key = identify(manifest.object);
      const first = owners.get(key);
      if (!first) {
        owners.set(key, manifest);
        return [];
      }
      const name = describeObject(manifest.object);
      const message =
        first.application === manifest.application
          ? `${name} is rendered twice by Application ${first.application}, also from ${first.file}`
          : `${name} already belongs to Application ${first.application} (${first.file})`;
      return [{ manifest, path: ["metadata", "name"], message, fix: "keep it in one of them" }];
    });
  },
};
