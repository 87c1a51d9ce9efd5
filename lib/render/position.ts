/** Finds where in a file a field of a rendered object stands. */
import { type Document, isMap, isScalar, isSeq, LineCounter, type Node, parseAllDocuments } from "yaml";
import { type FieldPath, isMapping, type KubernetesObject, type Manifest } from "../object.ts";
import type { Repository } from "../repository.ts";

/** Line and column, counted from 1. */
export interface Position {
  file: string;
  line: number;
  column: number;
}

interface Source {
  documents: Document[];
  lines: LineCounter;
}

/** Finds positions in the files of a repository; a file is parsed when the first position in it is asked for. */
export class Positions {
  readonly #repository: Repository;
  readonly #sources = new Map<string, Source | undefined>();

  constructor(repository: Repository) {
    this.#repository = repository;
  }

  /**
   * The position of an object's field, or of the nearest field above it that its file has.
   * @param alternatives files that change what the object's own file says: kustomizations and their patches
   */
  ofField({ object, file, foreign }: Manifest, path: FieldPath, alternatives: string[] = []): Position {
    if (foreign) return { file, line: 1, column: 1 };
    const source = this.#source(file);
    const own = source?.documents.find((document) => describes(document, object));
    // A generated object itself stands in no file; the generator has its name without the hash of the content.
    if (!source || !own)
      return this.ofText(file, String(object.metadata?.name ?? object.kind).replace(/-[a-z0-9]{10}$/, ""));
    const rendered = path.reduce<unknown>(
      (value, key) => (value as Record<string | number, unknown> | undefined)?.[key],
      object,
    );
    const { node, depth, value } = descend(own, path, object);
    if (
      typeof rendered !== "object" &&
      rendered !== undefined &&
      (depth < path.length || value !== rendered)
    ) {
      const elsewhere = this.#firstMention(alternatives, String(rendered));
      if (elsewhere) return elsewhere;
    }
    return this.#positionOf(file, source, node);
  }

  /** The position of a path in a file's first document, such as a kustomization's. */
  ofPath(file: string, path: FieldPath): Position {
    const source = this.#source(file);
    const document = source?.documents[0];
    if (!source || !document) return { file, line: 1, column: 1 };
    return this.#positionOf(file, source, descend(document, path, undefined).node);
  }

  /** The position of a text's first mention, or the file's beginning. */
  ofText(file: string, text: string): Position {
    return this.#firstMention([file], text) ?? { file, line: 1, column: 1 };
  }

  /** The objects that a file holds; none if it is not YAML. */
  objectsOf(file: string): KubernetesObject[] {
    const documents = this.#source(file)?.documents ?? [];
    return documents
      .filter(({ errors }) => errors.length === 0)
      .map((document) => document.toJS())
      .filter((object) => isMapping(object) && isMapping(object.metadata)) as KubernetesObject[];
  }

  #firstMention(files: string[], text: string): Position | undefined {
    for (const file of files) {
      const lines = (this.#repository.get(file) ?? "").split("\n");
      const line = lines.findIndex((candidate) => candidate.includes(text));
      if (line >= 0) return { file, line: line + 1, column: (lines[line] ?? "").indexOf(text) + 1 };
    }
    return undefined;
  }

  #positionOf(file: string, source: Source, node: Node | undefined): Position {
    const offset = node?.range?.[0] ?? 0;
    const { line, col } = source.lines.linePos(offset);
    return { file, line: Math.max(line, 1), column: Math.max(col, 1) };
  }

  #source(file: string): Source | undefined {
    if (!this.#sources.has(file)) {
      const text = this.#repository.get(file);
      const lines = new LineCounter();
      this.#sources.set(
        file,
        text === undefined
          ? undefined
          : { documents: parseAllDocuments(text, { lineCounter: lines }) as Document[], lines },
      );
    }
    return this.#sources.get(file);
  }
}

// Kustomize may have put a prefix or a hash around the name that the file says.
function describes(document: Document, object: Manifest["object"]): boolean {
  const name = document.getIn(["metadata", "name"]);
  const rendered: unknown = object.metadata?.name;
  return (
    document.get("kind") === object.kind &&
    (name === rendered ||
      (typeof name === "string" && typeof rendered === "string" && rendered.includes(name)))
  );
}

// Follows a path as far as the file goes. The elements of lists are found by their name: patches insert and append.
function descend(
  document: Document,
  path: FieldPath,
  object: unknown,
): { node: Node | undefined; depth: number; value?: unknown } {
  let current = document.contents as Node | undefined;
  let reported = current;
  let rendered = object as Record<string | number, unknown> | undefined;
  for (const [depth, key] of path.entries()) {
    const element = rendered?.[key] as Record<string, unknown> | undefined;
    let next: Node | undefined;
    let shown: Node | undefined;
    if (isMap(current)) {
      const pair = current.items.find(
        ({ key: name }) => isScalar(name) && String(name.value) === String(key),
      );
      next = pair?.value as Node | undefined;
      shown = pair?.key as Node | undefined;
    } else if (isSeq(current)) {
      const byName = current.items.find(
        (item) => isMap(item) && element?.name && item.get("name") === element.name,
      );
      next = (byName ?? (element?.name ? undefined : current.items[Number(key)])) as Node | undefined;
      shown = next;
    }
    if (!shown) return { node: reported, depth };
    reported = shown;
    current = next;
    rendered = element;
  }
  return { node: reported, depth: path.length, value: isScalar(current) ? current.value : undefined };
}
