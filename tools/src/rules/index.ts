import {
  type Configuration,
  configurationFile,
  nearest,
  type Preset,
  WrongConfiguration,
} from "../../../lib/configuration.ts";
import { type Finding, sortFindings } from "../finding.ts";
import type { Graph } from "../graph.ts";
import { syncAccount } from "./accounts.ts";
import { applicationPolicy } from "./applications.ts";
import { autoscaling } from "./autoscaling.ts";
import { gatewayCertificate } from "./certificates.ts";
import { disruptionBudget, podSecurity, probesSet, resourcesSet } from "./containers.ts";
import { fileTracked, linkInside } from "./files.ts";
import { imagePinned, imageTag } from "./images.ts";
import { recommendedLabels } from "./labels.ts";
import { metricExists } from "./metrics.ts";
import { syncOrder } from "./order.ts";
import { singleOwner } from "./owners.ts";
import { portExists } from "./ports.ts";
import { projectAllows } from "./projects.ts";
import { rbacWildcard } from "./rbac.ts";
import { unlistedFile } from "./reachability.ts";
import { referenceResolves } from "./references.ts";
import { leftOpen, renders, schema } from "./rendering.ts";
import { rightsConfined } from "./rights.ts";
import { routeResolves } from "./routes.ts";
import type { Rule } from "./rule.ts";
import { selectorMatches } from "./selectors.ts";
import { faultShare } from "./shares.ts";
import { singlePlace } from "./single-place.ts";
import {
  argocdValid,
  entryOnce,
  meshValid,
  nameValid,
  podValid,
  prometheusValid,
  scheduleValid,
  valueValid,
} from "./values.ts";

/** Every rule, in the order in which `validate --explain` lists them. */
export const rules: readonly Rule[] = [
  renders,
  schema,
  nameValid,
  valueValid,
  scheduleValid,
  argocdValid,
  prometheusValid,
  podValid,
  meshValid,
  entryOnce,
  faultShare,
  linkInside,
  fileTracked,
  leftOpen,
  unlistedFile,
  singlePlace,
  syncOrder,
  singleOwner,
  projectAllows,
  syncAccount,
  applicationPolicy,
  selectorMatches,
  portExists,
  routeResolves,
  gatewayCertificate,
  referenceResolves,
  imagePinned,
  imageTag,
  podSecurity,
  resourcesSet,
  probesSet,
  disruptionBudget,
  autoscaling,
  rbacWildcard,
  rightsConfined,
  recommendedLabels,
  metricExists,
];

/** The preset of a rule. The preset `platform` also has the rules of `argocd`. */
export const presetOf = (rule: Rule): Preset => (rule.isOfArgocd ? "argocd" : "platform");

/**
 * The rules for a repository: those of its preset, without those that it switches off, and with those that it switches on.
 * @throws WrongConfiguration for an unknown rule
 */
export function chosenRules({ preset, rules: switched }: Configuration): readonly Rule[] {
  for (const name of Object.keys(switched))
    if (!rules.some(({ id }) => id === name)) {
      const ids = rules.map(({ id }) => id);
      throw new WrongConfiguration(`${configurationFile}: there is no rule ${name}`, nearest(name, ids));
    }
  return rules.filter(
    (rule) => switched[rule.id]?.on ?? (preset === "platform" || presetOf(rule) === preset),
  );
}

/**
 * Applies rules to a cluster's objects. If something does not render, only rules that look at single files are applied.
 * @param chosen the rules; all by default
 */
export function runRules(graph: Graph, chosen = rules): Finding[] {
  // If objects are missing from the graph, most rules would only report consequences of that.
  const whole = graph.input.applications.every(({ error }) => error === undefined);
  const cut = chosen.filter((rule) => (whole ? rule.isLocal || !graph.hasHoles : rule.isOfFiles));
  const applied = graph.input.variant ? cut.filter((rule) => !rule.isOfClusters) : cut;
  const findings = applied.flatMap(({ id, check }) =>
    check(graph).map((problem): Finding => {
      const position = "manifest" in problem ? graph.position(problem.manifest, problem.path) : problem.at;
      return { ...position, rule: id, message: problem.message, fix: problem.fix };
    }),
  );
  return sortFindings(findings);
}
