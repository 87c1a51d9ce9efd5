/** Checks what Argo CD requires of its own objects and of the annotations that it reads, and the API server does not. */
import { isMapping, type KubernetesObject } from "../../../lib/object.ts";
import { below, defect, isEmpty, list, mapping, texts, type Value } from "./read.ts";
import { isGoDuration, scheduleFlaw, timeZoneFlaw } from "./schedules.ts";
import type { Defect } from "./validator.ts";

const flaw = (path: Defect["path"], message: string, fix: string): Defect =>
  defect(path, message, fix, "argocd-valid");

const group = "argocd.argoproj.io/";
const truth = ["true", "false"];

// Argo CD compares options with these names exactly. It silently ignores any other.
const ofObjects: Record<string, string[]> = {
  ApplyOutOfSyncOnly: truth,
  ClientSideApplyMigration: truth,
  Delete: [...truth, "confirm"],
  Force: truth,
  Prune: [...truth, "confirm"],
  PruneLast: truth,
  PrunePropagationPolicy: ["background", "foreground", "orphan"],
  Replace: truth,
  ServerSideApply: truth,
  SkipDryRunOnMissingResource: truth,
  Validate: truth,
};
const ofApplications: Record<string, string[]> = {
  ...ofObjects,
  CreateNamespace: truth,
  FailOnSharedResource: truth,
  RespectIgnoreDifferences: truth,
};

function optionFlaw(option: string, known: Record<string, string[]>): string | undefined {
  const [name = "", value, ...more] = option.split("=");
  const values = known[name];
  if (values && more.length === 0 && values.includes(value ?? "")) return undefined;
  const meant = values
    ? name
    : Object.keys(known).find((other) => other.toLowerCase() === name.trim().toLowerCase());
  return meant
    ? `write ${(known[meant] ?? []).map((one) => `${meant}=${one}`).join(" or ")}`
    : `write one of ${Object.keys(known).join(", ")}, with =true or =false`;
}

const csv = (text: unknown): string[] =>
  String(text)
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);

/** Checks annotations for Argo CD, on any object that it syncs. */
function annotations(object: KubernetesObject): Defect[] {
  return Object.entries(mapping(object.metadata.annotations)).flatMap(([key, text]) => {
    if (!key.startsWith(group)) return [];
    const at = ["metadata", "annotations", key];
    const among = (known: string[], what: string): Defect[] =>
      csv(text)
        .filter((part) => !known.includes(part))
        .map((part) => flaw(at, `${part} is not a known ${what}`, `write one of ${known.join(", ")}`));
    switch (key.slice(group.length)) {
      case "sync-wave":
        return /^[+-]?\d+$/.test(String(text))
          ? []
          : [
              flaw(
                at,
                `${JSON.stringify(text)} is not a number: Argo CD uses wave 0`,
                "write a whole number",
              ),
            ];
      case "hook":
        return among(["PreSync", "Sync", "PostSync", "SyncFail", "PreDelete", "PostDelete", "Skip"], "hook");
      case "hook-delete-policy":
        return among(["HookSucceeded", "HookFailed", "BeforeHookCreation"], "policy");
      case "sync-options":
        return csv(text).flatMap((option) => {
          const fix = optionFlaw(option, ofObjects);
          return fix ? [flaw(at, `Argo CD has no option ${option}`, fix)] : [];
        });
      case "compare-options":
        return among(
          ["IgnoreExtraneous", "IncludeMutationWebhook=true", "ServerSideDiff=true", "ServerSideDiff=false"],
          "option",
        );
      default:
        return [];
    }
  });
}

// Argo CD reads a number without a unit as seconds.
const isDuration = (text: unknown): boolean => /^[+-]?\d+$/.test(String(text)) || isGoDuration(String(text));

function source(value: Value, isOneOfMany: boolean): Defect[] {
  const { repoURL, path, chart, targetRevision, ref } = value;
  const isReference = isOneOfMany && !isEmpty(ref);
  const isAway =
    String(path ?? "").startsWith("/") ||
    String(path ?? "")
      .split("/")
      .includes("..");
  return [
    ...(isEmpty(repoURL) ? [flaw(["repoURL"], "is empty", "write the repository's URL")] : []),
    ...(isEmpty(path) && isEmpty(chart) && !isReference
      ? [flaw(["path"], "is missing, and there is no chart", "write path or chart")]
      : []),
    ...(!isEmpty(chart) && isEmpty(targetRevision)
      ? [flaw(["targetRevision"], "is missing, but a chart needs it", "write the chart's version")]
      : []),
    ...(isAway ? [flaw(["path"], "leaves the repository", "write a path from the repository's root")] : []),
    ...(!isEmpty(ref) && !/^[A-Za-z0-9_-]+$/.test(String(ref))
      ? [flaw(["ref"], `${JSON.stringify(ref)} is not a valid name`, "write letters, digits, _ and -")]
      : []),
  ];
}

function application(spec: Value): Defect[] {
  const { destination, sources, syncPolicy, ignoreDifferences } = spec;
  const { server, name } = mapping(destination);
  const { syncOptions, retry } = mapping(syncPolicy);
  const backoff = mapping(mapping(retry).backoff);
  const many = list(sources);
  const noSource = many.length === 0 && spec.source === undefined && spec.sourceHydrator === undefined;
  const at = ["spec", "syncPolicy", "retry", "backoff"];
  return [
    ...(noSource ? [flaw(["spec", "source"], "is missing", "write it")] : []),
    ...many.flatMap((one, index) => below(["spec", "sources", index], source(one, true))),
    ...(many.length === 0 && isMapping(spec.source)
      ? below(["spec", "source"], source(spec.source, false))
      : []),
    ...(!isEmpty(server) && !isEmpty(name)
      ? [flaw(["spec", "destination", "name"], "cannot be combined with server", "remove one of them")]
      : []),
    ...(isEmpty(server) && isEmpty(name)
      ? [flaw(["spec", "destination"], "names no cluster", "write server: https://kubernetes.default.svc")]
      : []),
    ...texts(syncOptions).flatMap((option, index) => {
      const fix = optionFlaw(option, ofApplications);
      return fix
        ? [flaw(["spec", "syncPolicy", "syncOptions", index], `Argo CD has no option ${option}`, fix)]
        : [];
    }),
    ...["duration", "maxDuration"].flatMap((field) =>
      isEmpty(backoff[field]) || isDuration(backoff[field])
        ? []
        : [flaw([...at, field], `${backoff[field]} is not a duration`, "write a value such as 5s or 3m")],
    ),
    ...(Number(backoff.factor ?? 1) < 1 ? [flaw([...at, "factor"], "is below 1", "write 1 or more")] : []),
    ...list(ignoreDifferences).flatMap(({ jsonPointers }, index) =>
      texts(jsonPointers).flatMap((pointer, place) =>
        pointer === "" || pointer.startsWith("/")
          ? []
          : [
              flaw(
                ["spec", "ignoreDifferences", index, "jsonPointers", place],
                `${pointer} is not a JSON pointer`,
                `write /${pointer.replaceAll(".", "/")}`,
              ),
            ],
      ),
    ),
  ];
}

const scoped = ["applications", "applicationsets", "repositories", "exec", "logs", "clusters"];
const actions = /^(get|create|update|delete|sync|override|rollback|\*|(action|update|delete)\/.+)$/;

function policyFlaw(policy: string, project: string, role: string): string | undefined {
  const parts = policy.split(",").map((part) => part.trim());
  const [kind, subject, resource = "", action = "", object = "", effect = ""] = parts;
  if (parts.length !== 6 || kind !== "p")
    return `write p, proj:${project}:${role}, RESOURCE, ACTION, ${project}/NAME, allow`;
  if (subject !== `proj:${project}:${role}`) return `write proj:${project}:${role} instead of ${subject}`;
  if (!scoped.includes(resource)) return `write one of ${scoped.join(", ")} instead of ${resource}`;
  if (!actions.test(action)) return `there is no action ${action}`;
  if (!object.startsWith(`${project}/`)) return `write ${project}/* or ${project}/NAME instead of ${object}`;
  return effect === "allow" || effect === "deny" ? undefined : "end it with allow or deny";
}

const repeats = (all: string[]): number[] =>
  all.flatMap((text, index) => (all.indexOf(text) < index ? [index] : []));

function project(spec: Value, name: string): Defect[] {
  const repositories = texts(spec.sourceRepos);
  const places = list(spec.destinations);
  const roles = list(spec.roles);
  const again = (path: Defect["path"]): Defect => flaw(path, "is already in the list", "remove one of them");
  return [
    ...repositories.flatMap((text, index) =>
      text === "!*" ? [flaw(["spec", "sourceRepos", index], "!* allows nothing", "remove it")] : [],
    ),
    ...repeats(repositories).map((index) => again(["spec", "sourceRepos", index])),
    ...places.flatMap((place, index) =>
      ["server", "name", "namespace"]
        .filter((field) => place[field] === "!*")
        .map((field) => flaw(["spec", "destinations", index, field], "!* allows nothing", "remove it")),
    ),
    ...repeats(
      places.map(({ server, name: cluster, namespace }) =>
        JSON.stringify([isEmpty(server) ? (cluster ?? "") : server, namespace ?? ""]),
      ),
    ).map((index) => again(["spec", "destinations", index])),
    ...repeats(roles.map((role) => String(role.name))).map((index) =>
      again(["spec", "roles", index, "name"]),
    ),
    ...roles.flatMap((role, index) => [
      ...(/^[a-zA-Z0-9]([-_a-zA-Z0-9]*[a-zA-Z0-9])?$/.test(String(role.name))
        ? []
        : [
            flaw(
              ["spec", "roles", index, "name"],
              `${role.name} is not a valid name`,
              "write letters, digits, - and _",
            ),
          ]),
      ...texts(role.policies).flatMap((policy, place) => {
        const fix = policyFlaw(policy, name, String(role.name));
        return fix ? [flaw(["spec", "roles", index, "policies", place], `${policy} is refused`, fix)] : [];
      }),
      ...repeats(texts(role.policies)).map((place) => again(["spec", "roles", index, "policies", place])),
      ...texts(role.groups).flatMap((text, place) =>
        text.trim() === "" ? [flaw(["spec", "roles", index, "groups", place], "is empty", "remove it")] : [],
      ),
    ]),
    ...list(spec.syncWindows).flatMap((window, index) =>
      below(["spec", "syncWindows", index], windowFlaws(window)),
    ),
  ];
}

function windowFlaws({ kind, schedule, duration, timeZone, ...chosen }: Value): Defect[] {
  const wrong = scheduleFlaw(String(schedule ?? ""));
  const zone = isEmpty(timeZone) ? undefined : timeZoneFlaw(String(timeZone));
  return [
    ...(kind === "allow" || kind === "deny"
      ? []
      : [flaw(["kind"], `there is no ${kind}`, "write allow or deny")]),
    ...(wrong ? [flaw(["schedule"], `${JSON.stringify(schedule)} is refused`, wrong)] : []),
    ...(isGoDuration(String(duration))
      ? []
      : [flaw(["duration"], `${duration} is not a duration`, "write 1h30m")]),
    ...(zone ? [flaw(["timeZone"], `${timeZone} is refused`, zone)] : []),
    ...(["applications", "namespaces", "clusters"].every((field) => isEmpty(chosen[field]))
      ? [
          flaw(
            ["applications"],
            "is empty, and so are namespaces and clusters",
            "write one of them, such as *",
          ),
        ]
      : []),
  ];
}

/** Finds what Argo CD refuses or ignores in an object. */
export function argocdFlaws(object: KubernetesObject): Defect[] {
  const isOwn = object.apiVersion.startsWith("argoproj.io/");
  const spec = mapping(object.spec);
  return [
    ...annotations(object),
    ...(isOwn && object.kind === "Application" ? application(spec) : []),
    ...(isOwn && object.kind === "AppProject" ? project(spec, object.metadata.name) : []),
  ];
}
