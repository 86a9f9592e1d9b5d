//! Commands from any broker to the active controller, and what controllers tell each other besides.
//!
//! A command goes to whoever leads group 0 as far as this broker knows; a broker that is not a
//! member yet asks one after the other. The answer says at which index the command was applied, and
//! the proposer goes on only when its own image is that new: whoever creates a topic sees it.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info};
use uuid::Uuid;

use super::command::{Command, Outcome};
use super::{Controller, ProposeError};
use crate::node_rpc::transport::kind;
use crate::shard::Shard;
use crate::shard::router::ShardId;

/// How long a command may take, with finding out who the controller is.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one broker has for its answer before the next is asked.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long to wait before asking again when nobody led.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How long to wait for this broker's own image to follow.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(2);

/// What controllers say to each other.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Control {
    /// Carry this out, if you are the active controller.
    Propose { id: u64, command: Command },
    /// What became of it, and as of which index the image has it.
    Proposed { id: u64, applied: u64, result: Result<Outcome, ProposeError> },
    /// The sender lives.
    Heartbeat,
    /// Hand the leadership of a partition to broker `to`, if you have it.
    Transfer { topic: Uuid, partition: i32, to: i32 },
}

type Answer = (u64, Result<Outcome, ProposeError>);

/// Commands whose answers have not come yet.
#[derive(Default)]
pub(super) struct Forwarded {
    next_id: u64,
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
}

impl Shard {
    /// Takes what another broker's controller has to say.
    pub(crate) async fn on_control(
        self: &Rc<Self>,
        from: i32,
        payload: &Bytes,
    ) -> Result<(), String> {
        let control: Control = serde_json::from_slice(payload)
            .map_err(|error| format!("a message between controllers: {error}"))?;
        let taken = self.node.router.start(self, ShardId(0), move |shard| {
            shard.take_control(from, control);
            std::future::ready(())
        });
        taken.await.map(drop).map_err(|gone| gone.to_string())
    }

    fn take_control(self: &Rc<Self>, from: i32, control: Control) {
        // A broker that starts may hear of others before it has its own controller.
        let Some(controller) = self.controller_if_open() else { return };
        match control {
            Control::Propose { id, command } => {
                let shard = Rc::clone(self);
                tokio::task::spawn_local(async move {
                    let result = controller.propose_here(&command).await;
                    let applied = shard.node.images.load().applied;
                    shard.tell(from, &Control::Proposed { id, applied, result });
                });
            }
            Control::Proposed { id, applied, result } => {
                let waiting = controller.forwarded.borrow_mut().waiting.remove(&id);
                if let Some(waiting) = waiting {
                    let _ = waiting.send((applied, result));
                }
            }
            Control::Heartbeat => controller.on_heartbeat(from),
            Control::Transfer { topic, partition, to } => {
                self.hand_leadership(self.node.id, topic, partition, to);
            }
        }
    }

    /// Has the leader of a partition, which is broker `leader`, begin to hand over to broker `to`.
    /// Whether that comes about is seen from who leads.
    pub(crate) fn hand_leadership(
        self: &Rc<Self>,
        leader: i32,
        topic: Uuid,
        partition: i32,
        to: i32,
    ) {
        let owner = if leader == self.node.id {
            self.node.router.owner(topic, partition)
        } else {
            // Messages between controllers leave from shard 0.
            ShardId(0)
        };
        let here = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let handed = here.node.router.run(&here, owner, move |shard| {
                if leader != shard.node.id {
                    shard.tell(leader, &Control::Transfer { topic, partition, to });
                } else if let Ok(partition) = shard.partition(topic, partition)
                    && let Err(error) = partition.transfer_leadership(to)
                {
                    info!(topic = %partition.name, partition = partition.id.partition, to, %error,
                        "leadership stays");
                }
                std::future::ready(())
            });
            if handed.await.is_err() {
                debug!("shutting down");
            }
        });
    }

    fn tell(self: &Rc<Self>, node: i32, control: &Control) {
        let json = match serde_json::to_vec(control) {
            Ok(json) => Bytes::from(json),
            Err(error) => unreachable!("messages between controllers are plain data: {error}"),
        };
        self.transport.send(self, node, kind::CONTROL, vec![json]);
    }

    /// Tells the active controller that this broker lives.
    pub(super) fn beat(self: &Rc<Self>, controller: &Controller) {
        if let Some(leader) = controller.leader().filter(|leader| *leader != self.node.id) {
            self.tell(leader, &Control::Heartbeat);
        }
    }

    /// Has the active controller carry out a command, wherever it is. On shard 0.
    pub(crate) async fn propose_anywhere(
        self: &Rc<Self>,
        command: &Command,
    ) -> Result<Outcome, ProposeError> {
        let controller = self.controller();
        let deadline = Instant::now() + PROPOSE_TIMEOUT;
        let mut asked = 0;
        while Instant::now() < deadline {
            if controller.is_active() {
                match controller.propose_here(command).await {
                    Err(ProposeError::NotController) => {}
                    outcome => return outcome,
                }
            } else if let Some(node) = self.controller_to_ask(&controller, asked) {
                asked += 1;
                match self.ask(&controller, node, command, deadline).await {
                    Some((_, Err(ProposeError::NotController))) | None => {}
                    Some((applied, outcome)) => {
                        self.follow(applied).await;
                        return outcome;
                    }
                }
            }
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
        Err(ProposeError::NotController)
    }

    /// Whoever leads, or one after the other of those who may.
    fn controller_to_ask(&self, controller: &Controller, asked: usize) -> Option<i32> {
        let leader = controller.leader().filter(|leader| *leader != self.node.id);
        leader.or_else(|| {
            let others = self.node.other_brokers();
            others.get(asked % others.len().max(1)).copied()
        })
    }

    /// `None` if no answer came. A command that is asked for twice is carried out twice; each of
    /// them either changes nothing the second time or says so.
    async fn ask(
        self: &Rc<Self>,
        controller: &Controller,
        node: i32,
        command: &Command,
        deadline: Instant,
    ) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        let id = {
            let mut forwarded = controller.forwarded.borrow_mut();
            forwarded.next_id += 1;
            let id = forwarded.next_id;
            forwarded.waiting.insert(id, answer);
            id
        };
        self.tell(node, &Control::Propose { id, command: command.clone() });
        let until = deadline.min(Instant::now() + ANSWER_TIMEOUT);
        let answer = timeout_at(until, answered).await;
        controller.forwarded.borrow_mut().waiting.remove(&id);
        if answer.is_err() {
            debug!(node, "no answer from a controller");
        }
        answer.ok()?.ok()
    }

    /// Waits until this broker's image has what another's had at `applied`.
    async fn follow(&self, applied: u64) {
        let mut changes = self.node.images.subscribe();
        let followed = async {
            loop {
                changes.mark_unchanged();
                if self.node.images.load().applied >= applied || changes.changed().await.is_err() {
                    return;
                }
            }
        };
        // The command is carried out all the same; this broker only shows it later.
        let _ = tokio::time::timeout(FOLLOW_TIMEOUT, followed).await;
    }
}
