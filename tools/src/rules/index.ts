import {
  type Configuration,
  configurationFile,
  nearest,
  type Preset,
  WrongConfiguration,
} from "../../../lib/configuration.ts";
import { type Finding, sortFindings } from "../finding.ts";
import type { Graph } from "../graph.ts";
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

/** The preset that a rule is in: `platform` has those of `argocd` too. */
export const presetOf = (rule: Rule): Preset => (rule.isOfArgocd ? "argocd" : "platform");

/**
 * The rules that hold in a repository: those of its preset, without those that it switches off, with those that it
 * switches on. @throws WrongConfiguration for a rule that is not there
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
 * Applies rules to a cluster's objects; where something does not render, only those that look at files one by one.
 * @param chosen every rule by default
 */
export function runRules(graph: Graph, chosen = rules): Finding[] {
  // Of a graph with holes most rules would only name what follows from them.
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
