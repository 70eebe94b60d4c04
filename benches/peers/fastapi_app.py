"""Benchmark peer: the same webhook as one would first write it in Python.

FastAPI and SQLModel, one transaction a request, sequence numbers by COUNT + 1. As durable as the service: WAL with
synchronous=FULL. The database is the file that PEER_DATABASE names.
"""

import datetime as dt
import enum
import os
from typing import Optional

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field as Checked, field_validator
from sqlalchemy import DateTime, event
from sqlmodel import Column, Field, Index, Session, SQLModel, Text, create_engine, func, select

engine = create_engine(
    f"sqlite:///{os.environ['PEER_DATABASE']}",
    pool_size=20,
    max_overflow=20,
    connect_args={"check_same_thread": False, "timeout": 30},
)


@event.listens_for(engine, "connect")
def set_pragmas(connection, _record):
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def now():
    return dt.datetime.now(dt.timezone.utc)


class CallStatus(str, enum.Enum):
    in_progress = "in_progress"
    completed = "completed"
    failed = "failed"


class SpeakerType(str, enum.Enum):
    agent = "agent"
    driver = "driver"


class Call(SQLModel, table=True):
    __tablename__ = "calls"
    id: Optional[int] = Field(default=None, primary_key=True)
    conversation_id: str = Field(unique=True, index=True)
    driver_id: Optional[int] = None
    call_start_time: dt.datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    call_end_time: Optional[dt.datetime] = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    status: CallStatus = CallStatus.in_progress
    created_at: dt.datetime = Field(default_factory=now)
    updated_at: dt.datetime = Field(default_factory=now)


class CallTranscription(SQLModel, table=True):
    __tablename__ = "call_transcriptions"
    __table_args__ = (Index("ix_conversation_sequence", "conversation_id", "sequence_number"),)
    id: Optional[int] = Field(default=None, primary_key=True)
    conversation_id: str = Field(foreign_key="calls.conversation_id", index=True)
    speaker_type: SpeakerType
    message_text: str = Field(sa_column=Column(Text, nullable=False))
    timestamp: dt.datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    sequence_number: int = Field(index=True)
    created_at: dt.datetime = Field(default_factory=now)


def instant(text):
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00"))


class Delivery(BaseModel):
    conversation_id: str = Checked(min_length=1)
    speaker: str
    message: str = Checked(min_length=1)
    timestamp: str

    @field_validator("speaker")
    @classmethod
    def known_speaker(cls, value):
        if value not in ("agent", "user"):
            raise ValueError("must be agent or user")
        return value

    @field_validator("timestamp")
    @classmethod
    def readable_instant(cls, value):
        instant(value)
        return value


SQLModel.metadata.create_all(engine)
app = FastAPI()
router = APIRouter(prefix="/webhooks/elevenlabs")


@app.exception_handler(RequestValidationError)
async def refuse(_request, error):
    return JSONResponse({"status": "error", "message": "validation", "details": str(error)}, 400)


@router.post("/transcription", status_code=201)
def store(delivery: Delivery):
    said_at = instant(delivery.timestamp)
    conversation_id = delivery.conversation_id
    try:
        with Session(engine) as session:
            call = session.exec(select(Call).where(Call.conversation_id == conversation_id)).first()
            if call is None:
                session.add(Call(conversation_id=conversation_id, call_start_time=said_at))
                session.flush()
            of_call = CallTranscription.conversation_id == conversation_id
            count = session.exec(select(func.count()).select_from(CallTranscription).where(of_call)).one()
            turn = CallTranscription(
                conversation_id=conversation_id,
                speaker_type=SpeakerType.driver if delivery.speaker == "user" else SpeakerType.agent,
                message_text=delivery.message,
                timestamp=said_at,
                sequence_number=count + 1,
            )
            session.add(turn)
            session.commit()
            session.refresh(turn)
            return {
                "status": "success",
                "message": "saved",
                "transcription_id": turn.id,
                "sequence_number": turn.sequence_number,
            }
    except Exception as error:
        return JSONResponse({"status": "error", "message": "database", "details": str(error)[:200]}, 500)


app.include_router(router)
