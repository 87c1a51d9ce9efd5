import classNames from "classnames";
import * as React from "react";
import { createPortal } from "react-dom";
import "./dropdown.scss";

export interface DropDownProps {
  isMenu?: boolean;
  anchor: React.ComponentType;
  children?: React.ReactNode | (() => React.ReactNode);
  qeId?: string;
  onOpenStateChange?: (opened: boolean) => void;
}

interface State {
  opened: boolean;
  left: number;
  top: number;
}

let current: DropDown | undefined;

/** What opens below its anchor, one at a time; it is in the page while it is open. */
export class DropDown extends React.Component<DropDownProps, State> {
  override state: State = { opened: false, left: 0, top: 0 };
  private readonly element = React.createRef<HTMLDivElement>();
  private readonly content = React.createRef<HTMLDivElement>();

  override componentDidMount(): void {
    document.addEventListener("click", this.onClick);
    document.addEventListener("scroll", this.place, { passive: true, capture: true });
  }

  override componentDidUpdate(_: DropDownProps, before: State): void {
    if (before.opened !== this.state.opened) {
      this.place();
      this.props.onOpenStateChange?.(this.state.opened);
    }
  }

  override componentWillUnmount(): void {
    document.removeEventListener("click", this.onClick);
    document.removeEventListener("scroll", this.place, { capture: true });
    if (current === this) current = undefined;
  }

  close(): void {
    if (current === this) current = undefined;
    this.setState({ opened: false });
  }

  private open(): void {
    if (current !== this) current?.close();
    current = this;
    this.setState({ opened: true });
  }

  private readonly onClick = (event: MouseEvent): void => {
    const inside = [this.element, this.content].some(({ current: own }) =>
      own?.contains(event.target as Node),
    );
    if (this.state.opened && !inside) this.close();
  };

  private readonly place = (): void => {
    const [anchor, content] = [this.element.current, this.content.current];
    if (!this.state.opened || !anchor || !content) return;
    const { top, bottom, left, right } = anchor.getBoundingClientRect();
    const { offsetHeight: height, offsetWidth: width } = content;
    const next = {
      top: height + bottom + 2 > window.innerHeight ? Math.max(0, top - height - 2) : bottom + 2,
      left: width + left > window.innerWidth ? right - width : left,
    };
    if (next.top !== this.state.top || next.left !== this.state.left) this.setState(next);
  };

  override render(): React.ReactNode {
    const { anchor: Anchor, children, isMenu, qeId } = this.props;
    const { opened, left, top } = this.state;
    return (
      <div className="argo-dropdown" ref={this.element}>
        <div
          qe-id={qeId}
          className="argo-dropdown__anchor"
          onClick={(event) => {
            event.stopPropagation();
            if (opened) this.close();
            else this.open();
          }}
        >
          <Anchor />
        </div>
        {opened &&
          createPortal(
            <div
              className={classNames("argo-dropdown__content", "opened", { "is-menu": isMenu })}
              style={{ top, left }}
              ref={this.content}
              onClick={(event) => event.stopPropagation()}
            >
              {typeof children === "function" ? children() : children}
            </div>,
            this.element.current?.closest('[class^="theme-"]') ?? document.body,
          )}
      </div>
    );
  }
}
