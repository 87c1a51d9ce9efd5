import { defaultEnvironment, environmentOf } from "../../../lib/environment.ts";
import { imagesEntries } from "../../../lib/images/names.ts";
import { describeObject } from "../../../lib/object.ts";
import { sourcesOf } from "../../../lib/render/application.ts";
import { readYaml } from "../../../lib/render/cluster.ts";
import { isKustomization, kustomizationIn } from "../../../lib/render/references.ts";
import type { Graph, ServiceTag } from "../graph.ts";
import { containersOf, podsOf } from "./pods.ts";
import type { Problem, Rule } from "./rule.ts";

export const imagePinned: Rule = {
  id: "image-pinned",
  isLocal: true,
  summary: "Every image names its registry and a fixed version",
  explanation: `A rollback needs an old tag to mean the same image as before: an image without a tag, or with latest, may be another one each day. A
  name without a registry (app instead of docker.io/logging-platform/app) is one that no images entry of a kustomization has set.`,
  check: (graph) =>
    podsOf(graph).flatMap(({ source }): Problem[] => {
      if (!source || source.manifest.foreign) return [];
      const { manifest } = source;
      return containersOf(source).flatMap(({ container, path }) => {
        const { name, image = "" } = container;
        const flaw = imageFlaw(image);
        if (!flaw) return [];
        const message = `${describeObject(manifest.object)}: container ${name}: image ${image || "is missing"}${flaw.what}`;
        return [{ manifest, path: [...path, "image"], message, fix: flaw.fix }];
      });
    }),
};

/** Says why an image may be another one tomorrow; undefined for an image with its registry and a fixed version. */
export function imageFlaw(image: string): { what: string; fix: string } | undefined {
  const [, registry, tag, hash] =
    /^(?:([^/]+[.:][^/]*|localhost)\/)?[^:@]+(?::([^@]+))?(?:@(sha256:[0-9a-f]{64}))?$/.exec(image) ?? [];
  if (!registry)
    return {
      what: " names no registry",
      fix: "set it with an images entry in the kustomization, or write it in full",
    };
  if (hash) return undefined;
  if (!tag) return { what: " has no tag", fix: "add the tag of a version" };
  return tag === "latest"
    ? { what: " changes from day to day", fix: "write the tag of a version instead of latest" }
    : undefined;
}

export const imageTag: Rule = {
  id: "image-tag",
  readsNoObjects: true,
  isOfFiles: true,
  summary: "The tag of a service's image matches its committed sources, and every environment has one",
  explanation: `The tag is the first 12 hex digits of git rev-parse HEAD:services/NAME, so that a tag says which sources run, and unchanged sources
  need no build. The rule compares the images entries of all kustomizations, and the examples in docs/examples, whose image ends in /NAME for
  a directory services/NAME with a Dockerfile. Environments other than ${defaultEnvironment} get their tags by promotion: these may belong to any sources that were
  ever committed, and must be in the overlay, or a release to ${defaultEnvironment} would also be a release there. After npm run rollback the older tag is
  right until the sources change: the rollback's commit names the tag that it replaced in its trailer Rolled-Back.`,
  check: (graph) => {
    const { input, layout } = graph;
    if (!layout) return [];
    const images = new Set<string>();
    const problems: Problem[] = [];
    for (const [file, text] of input.repository) {
      if (
        !layout.rendered.some((place) => file.startsWith(`${place}/`)) ||
        !isKustomization(file) ||
        !text.includes("newTag")
      )
        continue;
      for (const { name, newName = name, newTag, index } of imagesEntries(readYaml(input.repository, file))) {
        const service = newName.split("/").pop() ?? "";
        const tag = input.tags.get(service);
        if (!tag || newTag === undefined) continue;
        images.add(newName);
        const at = graph.positionInFile(file, ["images", index, "newTag"]);
        if (isPromotedTo(file)) {
          if (tag.committed && !tag.committed.has(String(newTag)))
            problems.push({ at, ...neverCommitted(service, newTag, environmentOf(file)) });
          continue;
        }
        if (newTag === tag.expected || (tag.rolledBack !== undefined && tag.rolledBack === tag.expected))
          continue;
        problems.push({ at, ...verdict(service, newTag, tag) });
      }
    }
    problems.push(...inherited(graph, images));
    for (const [file, text] of input.repository) {
      if (!file.startsWith(`${layout.examples}/`) || !/\.ya?ml$/.test(file)) continue;
      for (const image of images)
        problems.push(...exampleTags(file, text, image, input.tags.get(image.split("/").pop() ?? "")));
    }
    return problems;
  },
};

const isPromotedTo = (path: string): boolean =>
  (environmentOf(path) ?? defaultEnvironment) !== defaultEnvironment;

function neverCommitted(
  service: string,
  tag: unknown,
  environment: string | undefined,
): { message: string; fix: string } {
  return {
    message: `no committed sources of ${service} have tag ${tag}`,
    fix: `npm run release -- --promote ${environment} ${service}`,
  };
}

// An overlay that renders a service's image without its own entry gets the base's tag, which belongs to another environment.
function inherited(graph: Graph, images: ReadonlySet<string>): Problem[] {
  const { repository } = graph.input;
  return graph.input.applications.flatMap(({ manifest, name }): Problem[] => {
    const path = manifest ? `${sourcesOf(manifest.object)[0]?.path}/` : "";
    if (!isPromotedTo(path)) return [];
    const file = kustomizationIn(repository, path) ?? `${path}kustomization.yaml`;
    const own = imagesEntries(readYaml(repository, file));
    const used = podsOf(graph)
      .filter(({ source }) => source?.manifest.application === name)
      .flatMap(({ source }) => (source ? containersOf(source) : []))
      .map(({ container }) => container.image?.replace(/:[^/]*$/, "") ?? "");
    return [...new Set(used)].flatMap((image) => {
      if (!images.has(image) || own.some((entry) => (entry.newName ?? entry.name) === image)) return [];
      const at = { file, line: 1, column: 1 };
      const message = `${environmentOf(path)} has no own tag for ${image}`;
      return [{ at, message, fix: `add an images entry with name: ${image} and a newTag` }];
    });
  });
}

function exampleTags(file: string, text: string, image: string, tag: ServiceTag | undefined): Problem[] {
  if (!tag || (tag.rolledBack !== undefined && tag.rolledBack === tag.expected)) return [];
  return text.split("\n").flatMap((content, index) => {
    const column = content.indexOf(`${image}:`);
    const found = column < 0 ? undefined : content.slice(column + image.length + 1).split(/[\s"']/)[0];
    if (found === undefined || found === tag.expected) return [];
    const service = image.split("/").pop() ?? "";
    return [{ at: { file, line: index + 1, column: column + 1 }, ...verdict(service, found, tag) }];
  });
}

function verdict(
  service: string,
  found: unknown,
  { expected, uncommitted }: ServiceTag,
): { message: string; fix: string } {
  const quoted = typeof found === "string" ? found : `${found} (a number)`;
  const message = uncommitted
    ? `the image of ${service} has tag ${quoted}, but its sources, which are not committed yet, have ${expected}`
    : `the image of ${service} has tag ${quoted}, but its committed sources have ${expected}`;
  return {
    message,
    fix: `npm run release -- ${service}, or write newTag: "${expected}" (with quotes, digits stay a string)`,
  };
}
