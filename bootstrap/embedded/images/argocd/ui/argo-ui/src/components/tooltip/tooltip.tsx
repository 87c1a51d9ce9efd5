import * as React from "react";
import { createPortal } from "react-dom";
import * as tippyModule from "tippy.js";
import "tippy.js/dist/tippy.css";

// A module with a default where it is bundled, the function itself where it is required.
const tippy: any = (tippyModule as any).default ?? tippyModule;

interface Props {
  content?: React.ReactNode;
  children?: React.ReactElement<any> | any;
  enabled?: boolean;
  visible?: boolean;
  className?: string;
  popperOptions?: any;
  [option: string]: any;
}

/** Hands an element's node to several who want it. */
function refs(...targets: any[]): (node: any) => void {
  return (node) => {
    for (const target of targets) {
      if (typeof target === "function") target(node);
      else if (target) target.current = node;
    }
  };
}

/** tippy.js around its one child; what it shows is drawn by React into tippy's own box. */
export function Tooltip({ content, children, enabled = true, visible, className, ...options }: Props) {
  const [node, setNode] = React.useState<Element | null>(null);
  const [box] = React.useState(() => document.createElement("div"));
  const [shown, setShown] = React.useState(false);
  const instance = React.useRef<any>(null);
  const active = enabled && Boolean(content);
  const settings = React.useRef(options);
  settings.current = options;
  React.useEffect(() => {
    if (!node || !active) return undefined;
    const made = tippy(node, {
      animation: "fade",
      ...settings.current,
      ...(visible === undefined ? {} : { trigger: "manual", hideOnClick: false }),
      content: box,
      allowHTML: true,
      onShow: () => setShown(true),
      onHidden: () => setShown(false),
    });
    instance.current = made;
    for (const name of className?.split(" ") ?? [])
      if (name !== "") made.popperChildren.tooltip.classList.add(name);
    return () => {
      instance.current = null;
      setShown(false);
      made.destroy();
    };
  }, [node, active, box, className, visible === undefined]);
  React.useEffect(() => {
    if (visible === undefined) return;
    if (visible) instance.current?.show();
    else instance.current?.hide();
  }, [visible, node, active]);
  // It was placed before React drew what it shows.
  React.useLayoutEffect(() => {
    if (shown) instance.current?.popperInstance?.scheduleUpdate();
  }, [shown]);
  const child = React.isValidElement(children) ? children : <span>{children}</span>;
  const drawn = React.useMemo(() => refs(setNode, (child.props as any).ref), [(child.props as any).ref]);
  return (
    <>
      {React.cloneElement(child as React.ReactElement<any>, { ref: drawn })}
      {shown && createPortal(content, box)}
    </>
  );
}
