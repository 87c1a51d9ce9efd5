import { load } from "js-yaml";
import type { Finding } from "../finding.ts";
import type { Repository } from "../repository.ts";

/** A service whose image is built from this repository, and the kustomization that says which build runs. */
export interface ImagePin {
  service: string;
  image: string;
  file: string;
}

interface Kustomization {
  images?: { name: string; newTag?: unknown }[];
}

/** Finds a tag in Git that is not the one of the service's committed sources. */
export function wrongTag(pin: ImagePin, expected: string, repository: Repository): Finding[] {
  const text = repository.get(pin.file) ?? "";
  const images = (load(text) as Kustomization | undefined)?.images ?? [];
  const image = images.find(({ name }) => name === pin.image);
  if (!image) return [finding(pin, pin.file, `there is no images entry named ${pin.image}`)];
  if (image.newTag === expected) return [];
  const lines = text.split("\n");
  const entry = lines.findIndex((line) => new RegExp(`^\\s*- name: ${pin.image}$`).test(line));
  const line = lines.findIndex((candidate, index) => index > entry && /^\s*newTag:/.test(candidate)) + 1;
  const edit = `write newTag: "${expected}" (the quotes keep digits a string)`;
  return [
    finding(
      pin,
      `${pin.file}:${line}`,
      `the tag is ${image.newTag}, ${pin.service} is at ${expected}: ${edit}`,
    ),
  ];
}

function finding(pin: ImagePin, where: string, message: string): Finding {
  return { rule: "image-tag", where, message: `${pin.image}: ${message}` };
}
